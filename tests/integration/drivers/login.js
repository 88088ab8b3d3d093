// Log-ins by node-postgres. Usage: node login.js PORT [USER PASSWORD tls|clear]...
// Prints for each "in", or the SQLSTATE of the refusal.
'use strict';
const { Client } = require('pg');

async function outcome(port, user, password, how) {
  const client = new Client({
    host: '127.0.0.1', port, user, password, database: 'postgres',
    ssl: how === 'tls' ? { rejectUnauthorized: false } : false,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    const result = await client.query({ text: 'select 40 + 2', rowMode: 'array' });
    await client.end();
    return result.rows[0][0] === 42 ? 'in' : 'nonsense';
  } catch (error) {
    return error.code || String(error);
  }
}

(async () => {
  const [port, ...rest] = process.argv.slice(2);
  for (let i = 0; i < rest.length; i += 3) {
    console.log(await outcome(Number(port), ...rest.slice(i, i + 3)));
  }
})();
