// An app on @fastify/session with connect-redis. It knows nothing of the gateway.
const fastify = require('fastify')();
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

const client = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
client.on('error', (error) => console.error('redis:', error.message));
client.connect().catch((error) => console.error('redis:', error.message));

const cookie = { secure: false };
if (process.env.COOKIE_MAX_AGE) cookie.maxAge = Number(process.env.COOKIE_MAX_AGE);

fastify.register(require('@fastify/formbody'));
fastify.register(require('@fastify/cookie'));
fastify.register(require('@fastify/session'), {
  secret: process.env.SESSION_SECRET,
  store: new RedisStore({ client }),
  cookie,
});

fastify.get('/login', (request, reply) => {
  reply.type('text/html').send('<form method="post"><input name="user"><button>Log in</button></form>');
});

fastify.post('/login', async (request, reply) => {
  const { user = 'zoe', roles = '' } = request.body || {};
  await request.session.regenerate();
  const id = /^\d{1,15}$/.test(user) ? Number(user) : user;
  request.session.user = { id, roles: roles.split(',').filter(Boolean) };
  request.session.count = 0;
  return reply.redirect('/', 303);
});

fastify.post('/increment', (request, reply) => {
  if (!request.session.user) return reply.code(403).send({ error: 'log in first' });
  request.session.count += 1;
  reply.send({ count: request.session.count });
});

fastify.post('/logout', async (request) => {
  await request.session.destroy();
  return { bye: true };
});

fastify.get('/*', (request, reply) => {
  const { user = null, count = null } = request.session;
  reply.send({ user, count, seen: request.headers });
});

fastify.listen({ port: Number(process.env.PORT) }).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
