// The counter site's `auth` service: who is logged in, and how often they counted.
// It knows nothing of the gateway. GENERATION names the folder with its dependencies.
const { express, sessions } = require(`./${process.env.GENERATION || 'current'}`);

const app = express();
const waiting = [];
app.post('/go-on', (req, res) => {
  waiting.splice(0).forEach((goOn) => goOn());
  res.json({});
});
app.use(sessions({
  url: process.env.REDIS_SESSION_URL,
  secret: process.env.SESSION_SECRET.split(','),
  prefix: process.env.SESSION_PREFIX || 'sess:',
  cookie: process.env.COOKIE_MAX_AGE ? { maxAge: Number(process.env.COOKIE_MAX_AGE) } : {},
}));
app.use(express.urlencoded({ extended: false }));

const wayBack = (path) => (/^\/(?![/\\])/.test(path || '') ? path : '/');
const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

app.get('/login', (req, res) => {
  const back = escaped(wayBack(req.query.return_to));
  res.type('html').send(`<form method="post"><input name="user" value="zoe"><input type="hidden" name="return_to" value="${back}">
<button>Log in</button></form>`);
});

app.post('/login', (req, res, next) => {
  const { user = 'zoe', roles = '', return_to } = req.body || {};
  req.session.regenerate((error) => {
    if (error) return next(error);
    const id = /^\d{1,15}$/.test(user) ? Number(user) : user;
    req.session.user = { id, name: user, roles: roles.split(',').filter(Boolean) };
    req.session.count = 0;
    req.session.save((failed) => (failed ? next(failed) : res.redirect(303, wayBack(return_to))));
  });
});

app.post('/increment', (req, res) => {
  if (!req.session.user) return res.status(403).json({ error: 'log in first' });
  req.session.count += 1;
  res.json({ count: req.session.count });
});

// Changes the session only when it is told to go on: what is written then is late.
app.post('/slow', (req, res) => {
  waiting.push(() => {
    req.session.count += 1;
    res.json({ count: req.session.count });
  });
  console.log('slow has begun');
});

// Leaves the end of the session to the gateway.
app.post('/sign-out', (req, res) => res.set('Session-Logout', 'this').json({ bye: true }));

app.post('/logout', (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({ bye: true })));
});

const server = app.listen(process.env.PORT, process.env.HOST || '127.0.0.1', () => console.log(`writer on ${process.env.PORT}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
