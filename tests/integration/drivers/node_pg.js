// node-postgres through dwspool. Usage: node node_pg.js PORT MODE
// Prints "ok NAME" or "FAILED NAME: why" for each test.
'use strict';
const assert = require('assert');
const { Client, Pool } = require('pg');

const [port, mode] = [Number(process.argv[2]), process.argv[3]];
const address = { host: '127.0.0.1', port, user: 'postgres', database: 'postgres' };
const tests = {};

async function withClient(work, options = {}) {
  const client = new Client({ ...address, ...options });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function value(client, text, values) {
  const result = await client.query({ text, values, rowMode: 'array' });
  return result.rows[0][0];
}

tests.queries = () => withClient(async (client) => {
  assert.strictEqual(await value(client, 'select 1'), 1);
  assert.strictEqual(await value(client, 'select $1::text', ['süß']), 'süß');
  await assert.rejects(client.query('select * from no_such_table'), { code: '42P01' });
  await assert.rejects(client.query('select 1/$1::int', [0]), { code: '22012' });
  const several = await client.query('select 1 as a; select 2 as b');
  assert.deepStrictEqual(several.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
  assert.strictEqual(await value(client, "select 'alive'"), 'alive');
});

tests.transactions = () => withClient(async (client) => {
  await client.query('create table if not exists node_t(id int)');
  await client.query('begin');
  await client.query('insert into node_t values ($1)', [1]);
  await assert.rejects(client.query('select 1/0'));
  await assert.rejects(client.query('select 1'), { code: '25P02' });
  await client.query('rollback');
  await client.query('begin');
  await client.query('insert into node_t select generate_series(1, $1::int)', [10]);
  await client.query('commit');
  assert.strictEqual(await value(client, 'select count(*)::int from node_t'), 10);
  await client.query('drop table node_t');
});

tests.namedStatements = () => withClient(async (client) => {
  for (let i = 0; i < 20; ++i) {
    const result = await client.query({ name: 'twice', text: 'select 2 * $1::int as x', values: [i] });
    assert.strictEqual(result.rows[0].x, 2 * i);
  }
});

tests.queue = () => withClient(async (client) => {
  const all = await Promise.all(
    Array.from({ length: 200 }, (_, i) => value(client, 'select $1::int', [i])));
  assert.deepStrictEqual(all, Array.from({ length: 200 }, (_, i) => i));
});

tests.large = () => withClient(async (client) => {
  const big = 'x'.repeat(3 << 20);
  assert.strictEqual(await value(client, 'select $1::text', [big]), big);
  const result = await client.query("select repeat('y', 1000) from generate_series(1, 5000)");
  assert.strictEqual(result.rows.length, 5000);
});

// COPY by hand, as pg-copy-streams does it.
tests.copy = () => withClient(async (client) => {
  await client.query('create table if not exists node_copy(id int, t text)');
  const copy = (text, onCopyIn) => new Promise((resolve, reject) => {
    const chunks = [];
    client.query({
      callback: (error) => (error ? reject(error) : resolve(Buffer.concat(chunks).toString())),
      submit(connection) {
        connection.query(text);
        connection.stream.on('error', reject);
      },
      handleCopyInResponse(connection) { onCopyIn(connection); },
      handleCopyData(message) { chunks.push(message.chunk); },
      handleRowDescription() {},
      handleCommandComplete() {},
      handleReadyForQuery() { if (!this.failed) this.callback(); },
      handleError(error) { this.failed = true; this.callback(error); },
    });
  });
  await copy('copy node_copy from stdin', (connection) => {
    for (let i = 0; i < 1000; ++i) connection.sendCopyFromChunk(Buffer.from(`${i}\ttext\n`));
    connection.endCopyFrom();
  });
  const out = await copy('copy (select id from node_copy order by id) to stdout');
  assert.strictEqual(out.split('\n').length, 1001);
  await assert.rejects(copy('copy node_copy from stdin', (connection) => {
    connection.sendCopyFromChunk(Buffer.from('no number\tx\n'));
    connection.endCopyFrom();
  }), { code: '22P02' });
  assert.strictEqual(await value(client, 'select count(*)::int from node_copy'), 1000);
  await client.query('drop table node_copy');
});

tests.cancel = () => withClient((client) => withClient(async (watcher) => {
  const sleeping = client.query('select pg_sleep(67)');
  const failed = assert.rejects(sleeping, { code: '57014' });
  while (await value(watcher, "select count(*)::int from pg_stat_activity where query = "
      + "'select pg_sleep(67)' and state = 'active'") === 0);
  const canceller = new Client(address);
  canceller.cancel(client, client._getActiveQuery ? client._getActiveQuery() : client.activeQuery);
  await failed;
  assert.strictEqual(await value(client, "select 'alive'"), 'alive');
}));

tests.startUpSettings = () => withClient(async (client) => {
  assert.strictEqual(await value(client, 'show statement_timeout'), '7s');
  assert.strictEqual(await value(client, 'show application_name'), 'node test');
  assert.strictEqual(await value(client, 'show work_mem'), '6MB');
}, { statement_timeout: 7000, application_name: 'node test', options: '-c work_mem=6MB' });

tests.reconnect = async () => {
  for (let i = 0; i < 5; ++i) {
    assert.strictEqual(await withClient((client) => value(client, 'select $1::int', [i])), i);
  }
  await assert.rejects(withClient((client) => client, { database: 'no_such_database' }),
    { code: '3D000' });
};

tests.pool = async () => {
  const pool = new Pool({ ...address, max: 4 });
  const results = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      const got = await value(client, 'select $1::int', [i]);
      await client.query('commit');
      return got;
    } finally {
      client.release();
    }
  }));
  assert.deepStrictEqual(results, Array.from({ length: 100 }, (_, i) => i));
  await pool.end();
};

if (mode !== 'transaction') {
  tests.listen = () => withClient(async (listener) => {
    const heard = new Promise((resolve) => { listener.on('notification', resolve); });
    await listener.query('listen node_channel');
    await withClient((sender) => sender.query("notify node_channel, 'payload'"));
    assert.strictEqual((await heard).payload, 'payload');
  });
}

(async () => {
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
  process.exit(0);
})();
