<?php
// An app on PHP's own sessions in Redis (phpredis). It knows nothing of the gateway. Every request is served by this
// file; how sessions are stored is said on the command line.

session_start();
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);

function answer(int $status, array $body): void
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($body);
}

switch ("{$_SERVER['REQUEST_METHOD']} $path") {
    case 'GET /login':
        echo '<form method="post"><input name="user"><button>Log in</button></form>';
        break;
    case 'POST /login':
        session_regenerate_id(true);
        $user = $_POST['user'] ?? 'zoe';
        $_SESSION['user'] = [
            'id' => ctype_digit($user) ? (int) $user : $user,
            'roles' => array_values(array_filter(explode(',', $_POST['roles'] ?? ''))),
        ];
        $_SESSION['count'] = 0;
        header('Location: /', true, 303);
        break;
    case 'POST /increment':
        if (!isset($_SESSION['user'])) {
            answer(403, ['error' => 'log in first']);
            break;
        }
        answer(200, ['count' => ++$_SESSION['count']]);
        break;
    case 'POST /logout':
        session_destroy();
        answer(200, ['bye' => true]);
        break;
    default:
        answer(200, [
            'user' => $_SESSION['user'] ?? null,
            'count' => $_SESSION['count'] ?? null,
            'seen' => array_change_key_case(getallheaders()),
        ]);
}
