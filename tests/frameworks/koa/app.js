// An app on koa-redis with the session package that PACKAGE names. It knows nothing of the gateway.
const Koa = require('koa');
const { bodyParser } = require('@koa/bodyparser');
const store = require('koa-redis')({ host: '127.0.0.1', port: Number(process.env.REDIS_PORT) });

const app = new Koa();
app.keys = [process.env.SESSION_SECRET];

let regenerate;
if (process.env.PACKAGE === 'koa-session') {
  app.use(require('koa-session').createSession({ store }, app));
  regenerate = (ctx) => ctx.session.regenerate();
} else {
  app.use(require('koa-generic-session')({ store }));
  regenerate = (ctx) => ctx.regenerateSession();
}
app.use(bodyParser());

async function logIn(ctx) {
  const { user = 'zoe', roles = '' } = ctx.request.body || {};
  await regenerate(ctx);
  const id = /^\d{1,15}$/.test(user) ? Number(user) : user;
  ctx.session.user = { id, roles: roles.split(',').filter(Boolean) };
  ctx.session.count = 0;
  ctx.status = 303;
  ctx.redirect('/');
}

function increment(ctx) {
  if (!ctx.session.user) {
    ctx.status = 403;
    ctx.body = { error: 'log in first' };
    return;
  }
  ctx.session.count += 1;
  ctx.body = { count: ctx.session.count };
}

app.use(async (ctx) => {
  switch (`${ctx.method} ${ctx.path}`) {
    case 'GET /login':
      ctx.type = 'html';
      ctx.body = '<form method="post"><input name="user"><button>Log in</button></form>';
      break;
    case 'POST /login':
      await logIn(ctx);
      break;
    case 'POST /increment':
      increment(ctx);
      break;
    case 'POST /logout':
      ctx.session = null;
      ctx.body = { bye: true };
      break;
    default: {
      const { user = null, count = null } = ctx.session;
      ctx.body = { user, count, seen: ctx.headers };
    }
  }
});

app.listen(Number(process.env.PORT), '127.0.0.1');
