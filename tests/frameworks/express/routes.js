// Pages that some may see and pages that all may, as Express tells them apart. It knows nothing of the gateway.
const { express } = require(`./${process.env.GENERATION || 'current'}`);

const app = express();
const say = (word) => (req, res) => res.send(word);
app.use('/admin', say('protected'));
app.get('/users/:id/edit', say('protected'));
app.get('/secret.page', say('protected'));
app.get('/caf%C3%A9', say('protected'));
app.use(say('public'));
app.listen(process.env.PORT, '127.0.0.1');
