// The counter site's `app` service: answers who you are and what you counted, as this instance sees it.
// It knows nothing of the gateway. GENERATION names the folder with its dependencies.
const { express, sessions } = require(`./${process.env.GENERATION || 'current'}`);

const app = express();
app.use(sessions({
  url: process.env.REDIS_SESSION_URL,
  secret: process.env.SESSION_SECRET.split(','),
  prefix: process.env.SESSION_PREFIX || 'sess:',
  cookie: process.env.COOKIE_MAX_AGE ? { maxAge: Number(process.env.COOKIE_MAX_AGE) } : {},
}));

app.use((req, res) => {
  const seen = {};
  for (const name of Object.keys(req.headers)) {
    if (/^x-/.test(name) || name === 'cookie' || name === 'host') seen[name] = req.headers[name];
  }
  const { user = null, count = null } = req.session;
  res.json({ user, count, instance: process.env.INSTANCE || process.env.PORT, method: req.method, url: req.originalUrl, seen });
});

const server = app.listen(process.env.PORT, process.env.HOST || '127.0.0.1', () => console.log(`reader on ${process.env.PORT}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
