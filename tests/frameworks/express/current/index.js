// Express 5, express-session 1.19, connect-redis 9, redis 5: as their READMEs say.
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

module.exports = {
  express,
  sessions({ url, secret, cookie, prefix }) {
    const client = createClient({ url });
    client.on('error', (error) => console.error('redis:', error.message));
    client.connect().catch((error) => console.error('redis:', error.message));
    const store = new RedisStore({ client, prefix });
    return session({ store, secret, cookie, resave: false, saveUninitialized: false });
  },
};
