<?php
// An app on Laravel's own cookies, sessions and guard, with the redis driver. It knows nothing of the gateway.
// APP_KEY, APP_CIPHER, SESSION_ENCRYPT and REDIS_PORT say how; the framework is the distribution's package.

require_once 'Illuminate/autoload.php';

use Illuminate\Auth\GenericUser;
use Illuminate\Contracts\Auth\Authenticatable;
use Illuminate\Contracts\Auth\UserProvider;
use Illuminate\Http\Request;

error_reporting(E_ALL & ~E_DEPRECATED);

/** Whoever logs in exists. */
class Everybody implements UserProvider
{
    public function retrieveById($id)
    {
        return new GenericUser(['id' => $id, 'password' => 'x', 'remember_token' => '']);
    }

    public function retrieveByToken($id, $token)
    {
        return null;
    }

    public function updateRememberToken(Authenticatable $user, $token)
    {
    }

    public function retrieveByCredentials(array $credentials)
    {
        return $this->retrieveById($credentials['id']);
    }

    public function validateCredentials(Authenticatable $user, array $credentials)
    {
        return true;
    }
}

$app = new Illuminate\Foundation\Application(sys_get_temp_dir());
$app->instance('config', new Illuminate\Config\Repository([
    'app' => ['key' => getenv('APP_KEY'), 'cipher' => getenv('APP_CIPHER') ?: 'AES-256-CBC'],
    'auth' => [
        'defaults' => ['guard' => 'web'],
        'guards' => ['web' => ['driver' => 'session', 'provider' => 'users']],
        'providers' => ['users' => ['driver' => 'everybody']],
    ],
    'cache' => [
        'default' => 'redis',
        'prefix' => 'laravel_cache',
        'stores' => ['redis' => ['driver' => 'redis', 'connection' => 'default']],
    ],
    'database' => ['redis' => [
        'client' => 'phpredis',
        'options' => ['prefix' => 'laravel_database_'],
        'default' => ['host' => '127.0.0.1', 'port' => getenv('REDIS_PORT'), 'database' => 0],
    ]],
    'session' => [
        'driver' => 'redis',
        'connection' => null,
        'lifetime' => 120,
        'expire_on_close' => false,
        'encrypt' => (bool) getenv('SESSION_ENCRYPT'),
        'lottery' => [0, 100],
        'cookie' => 'laravel_session',
        'path' => '/',
        'domain' => null,
        'secure' => false,
        'http_only' => true,
        'same_site' => 'lax',
    ],
]));
Illuminate\Support\Facades\Facade::setFacadeApplication($app);
foreach ([
    Illuminate\Redis\RedisServiceProvider::class,
    Illuminate\Cache\CacheServiceProvider::class,
    Illuminate\Encryption\EncryptionServiceProvider::class,
    Illuminate\Cookie\CookieServiceProvider::class,
    Illuminate\Session\SessionServiceProvider::class,
    Illuminate\Auth\AuthServiceProvider::class,
] as $provider) {
    $app->register($provider);
}
$app['auth']->provider('everybody', fn () => new Everybody());

function serve(Request $request, $app)
{
    $session = $request->session();
    $guard = $app['auth']->guard();
    switch ("{$request->method()} {$request->path()}") {
        case 'GET login':
            return response_of(200, '<form method="post"><input name="user"><button>Log in</button></form>', 'text/html');
        case 'POST login':
            $user = $request->input('user', 'zoe');
            $guard->loginUsingId(ctype_digit($user) ? (int) $user : $user);
            $session->put('roles', array_values(array_filter(explode(',', $request->input('roles', '')))));
            $session->put('count', 0);
            return response_of(303, '', 'text/plain', ['Location' => '/']);
        case 'POST increment':
            if ($guard->guest()) {
                return json_of(403, ['error' => 'log in first']);
            }
            $session->increment('count');
            return json_of(200, ['count' => $session->get('count')]);
        case 'POST logout':
            $guard->logout();
            $session->invalidate();
            return json_of(200, ['bye' => true]);
        default:
            return json_of(200, [
                'user' => $guard->check() ? ['id' => $guard->id(), 'roles' => $session->get('roles')] : null,
                'count' => $session->get('count'),
                'seen' => array_map(fn ($values) => $values[0], $request->headers->all()),
            ]);
    }
}

function response_of(int $status, string $body, string $type, array $headers = [])
{
    return new Illuminate\Http\Response($body, $status, ['Content-Type' => $type] + $headers);
}

function json_of(int $status, array $body)
{
    return response_of($status, json_encode($body), 'application/json');
}

$request = Request::capture();
$app->instance('request', $request);
$response = (new Illuminate\Pipeline\Pipeline($app))
    ->send($request)
    ->through([
        Illuminate\Cookie\Middleware\EncryptCookies::class,
        Illuminate\Cookie\Middleware\AddQueuedCookiesToResponse::class,
        Illuminate\Session\Middleware\StartSession::class,
    ])
    ->then(fn ($request) => serve($request, $app));
$response->send();
