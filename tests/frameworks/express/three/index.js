// Express 4, express-session 1.15, connect-redis 3.4 with its own redis 2 client: as their READMEs said.
const express = require('express');
const session = require('express-session');
const RedisStore = require('connect-redis')(session);

module.exports = {
  express,
  sessions({ url, secret, cookie, prefix }) {
    const store = new RedisStore({ url, prefix, logErrors: true, retry_strategy: () => 100 });
    return session({ store, secret, cookie, resave: false, saveUninitialized: false });
  },
};
