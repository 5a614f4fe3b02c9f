// An Express app whose users Passport remembers. It knows nothing of the gateway.
const express = require('express');
const session = require('express-session');
const passport = require('passport');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

const client = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
client.connect();
passport.serializeUser((user, done) => done(null, user));
passport.deserializeUser((user, done) => done(null, user));

const app = express();
app.use(session({ store: new RedisStore({ client }), secret: process.env.SESSION_SECRET, resave: false, saveUninitialized: false }));
app.use(passport.session());
app.use(express.urlencoded({ extended: false }));

app.get('/login', (req, res) => {
  res.type('html').send('<form method="post"><input name="user"><button>Log in</button></form>');
});

app.post('/login', (req, res, next) => {
  const { user = 'zoe', roles = '' } = req.body || {};
  const id = /^\d{1,15}$/.test(user) ? Number(user) : user;
  req.login({ id, roles: roles.split(',').filter(Boolean) }, (error) => {
    if (error) return next(error);
    req.session.count = 0;
    res.redirect(303, '/');
  });
});

app.post('/increment', (req, res) => {
  if (!req.isAuthenticated()) return res.status(403).json({ error: 'log in first' });
  req.session.count += 1;
  res.json({ count: req.session.count });
});

app.post('/logout', (req, res, next) => {
  req.logout((error) => (error ? next(error) : res.json({ bye: true })));
});

app.use((req, res) => {
  const { user = null } = req;
  const { count = null } = req.session;
  res.json({ user, count, seen: req.headers });
});

const server = app.listen(process.env.PORT, '127.0.0.1');
process.on('SIGTERM', () => server.close(() => process.exit(0)));
