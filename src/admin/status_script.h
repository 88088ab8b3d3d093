// What the status page does: asks for status.json again and again, and makes tables of it.
#pragma once

#include <string_view>

namespace dwspool::admin {

// Whatever comes from there is a name that somebody chose: it is put in by textContent, nowhere
// else, and innerHTML and its kin do not occur.
inline constexpr std::string_view status_script = R"js('use strict';
const every = 2000;
const rowsShown = 100;
let before = null;

const byId = id => document.getElementById(id);

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (kind) made.className = kind;
  return made;
}

function compact(value) {
  if (!isFinite(value)) return '';
  if (Math.abs(value) >= 1e6) return (value / 1e6).toFixed(1) + ' M';
  if (Math.abs(value) >= 1e4) return (value / 1e3).toFixed(1) + ' k';
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 2 : 1);
}

function seconds(value) {
  if (value === 0) return '';
  if (value < 1) return (value * 1000).toFixed(0) + ' ms';
  return value < 120 ? value.toFixed(1) + ' s' : (value / 60).toFixed(0) + ' min';
}

// columns: [heading, function of the row to text, number or Node, is it a number, its class]
function fill(id, rows, columns, nothing) {
  const place = byId(id);
  if (rows.length === 0) {
    place.replaceChildren(element('p', nothing, 'soft'));
    return;
  }
  const table = element('table');
  const head = table.createTHead().insertRow();
  for (const [heading, , number] of columns) {
    head.appendChild(element('th', heading, number ? 'number' : ''));
  }
  const body = table.createTBody();
  for (const row of rows.slice(0, rowsShown)) {
    const line = body.insertRow();
    for (const [, value, number, kind] of columns) {
      const shown = value(row);
      const cell = element('td', shown instanceof Node ? null : shown,
                           (number ? 'number ' : '') + (kind ? kind(row) : ''));
      if (shown instanceof Node) cell.appendChild(shown);
      line.appendChild(cell);
    }
  }
  const parts = [table];
  if (rows.length > rowsShown) {
    parts.push(element('p', 'and ' + (rows.length - rowsShown) + ' more', 'soft'));
  }
  place.replaceChildren(...parts);
}

const plain = name => row => row[name] === null ? '' : row[name];
const number = name => row => row[name] === 0 ? '' : compact(row[name]);
const maxwait = row => row.maxwait + row.maxwait_us / 1e6;
const sum = (rows, what) => rows.reduce((total, row) => total + what(row), 0);
const replays = (now, accept) =>
  sum(now.replay.filter(row => row.name === 'total' && accept(row.outcome)), row => row.value);

function busy(row, size) {
  const meter = document.createElement('meter');
  meter.min = 0;
  meter.max = size;
  meter.high = size * 0.9;
  meter.value = row.sv_active;
  meter.title = row.sv_active + ' of ' + size + ' in use';
  return meter;
}

// By database: what has happened since the last time, per second.
function rates(now) {
  const past = new Map(before ? before.stats.map(row => [row.database, row]) : []);
  const span = before ? (now.time_ms - before.time_ms) / 1000 : 0;
  return now.stats.map(row => {
    const old = past.get(row.database);
    const grown = name => old && span > 0 ? Math.max(0, row[name] - old[name]) : NaN;
    const queries = grown('query_count');
    return {
      database: row.database,
      queries: queries / span,
      transactions: grown('xact_count') / span,
      time: queries > 0 ? grown('query_time') / queries / 1e6 : 0,
      waited: grown('wait_time') / span / 1e6,
      total: row.query_count,
      received: grown('bytes_received') / span,
      sent: grown('bytes_sent') / span,
    };
  });
}

function tile(heading, value, kind) {
  const made = element('div', null, 'tile');
  made.appendChild(element('b', value, kind));
  made.appendChild(element('span', heading, 'soft'));
  return made;
}

function show(now) {
  const pools = now.pools.filter(row => row.database !== 'pgbouncer')
    .sort((a, b) => maxwait(b) - maxwait(a) || b.cl_waiting - a.cl_waiting ||
                    b.sv_active - a.sv_active || a.database.localeCompare(b.database));
  const sizes = new Map(now.databases.map(row => [row.name, row.pool_size]));
  const perDatabase = rates(now);
  const waiting = sum(pools, row => row.cl_waiting);
  const longest = Math.max(0, ...pools.map(maxwait));
  const failed = replays(now, outcome => outcome !== 'masked');
  document.title = (waiting > 0 ? '(' + waiting + ') ' : '') + 'dwspool';
  byId('state').textContent = now.state;
  byId('state').className = now.state === 'active' ? 'good' : 'warn';
  byId('version').textContent = now.version;
  byId('time').textContent = new Date(now.time_ms).toLocaleTimeString();
  byId('tiles').replaceChildren(
    tile('clients of ' + now.max_clients, now.clients),
    tile('wait for a backend', waiting, waiting > 0 ? 'warn' : ''),
    tile('longest wait', seconds(longest) || '0', longest > 1 ? 'warn' : ''),
    tile('backends in use', sum(pools, row => row.sv_active)),
    tile('statements per second', compact(sum(perDatabase, row => row.queries || 0))),
    tile('failures masked', replays(now, outcome => outcome === 'masked')),
    tile('failures told', failed, failed > 0 ? 'warn' : ''),
    tile('bound sessions', sum(now.pins, row => row.sessions)));
  fill('pools', pools, [
    ['database', plain('database')], ['user', plain('user')], ['mode', plain('pool_mode')],
    ['clients', row => compact(row.cl_active + row.cl_waiting), true],
    ['waiting', number('cl_waiting'), true, row => row.cl_waiting > 0 ? 'warn' : ''],
    ['longest wait', row => seconds(maxwait(row)), true],
    ['in use', number('sv_active'), true], ['idle', number('sv_idle'), true],
    ['cleaning', number('sv_tested'), true], ['opening', number('sv_login'), true],
    ['of pool_size', row => sizes.has(row.database) ? busy(row, sizes.get(row.database)) : ''],
  ], 'No client has come yet.');
  fill('databases', perDatabase, [
    ['database', plain('database')], ['statements/s', row => compact(row.queries), true],
    ['transactions/s', row => compact(row.transactions), true],
    ['time each', row => seconds(row.time), true],
    ['clients waiting, on average', row => compact(row.waited), true],
    ['bytes/s from clients', row => compact(row.received), true],
    ['bytes/s to clients', row => compact(row.sent), true],
    ['statements', row => compact(row.total), true],
  ], 'No statement has been run yet.');
  fill('coordinators', now.coordinators, [
    ['cluster', plain('cluster')], ['coordinator', plain('coordinator')],
    ['state', plain('state'), false,
     row => row.state === 'up' ? 'good' : row.state === 'down' ? 'bad' : 'soft'],
    ['role', plain('role')],
    ['gets work', plain('serving'), false, row => row.serving === 'no' ? 'bad' : ''],
    ['connections', number('connections'), true], ['opened', number('opened'), true],
    ['failed', number('failures'), true],
  ], 'No coordinator has been tried yet.');
  fill('replay', now.replay.filter(row => /^(total|refused_total|in_doubt_total|tokens_total)$/
                                   .test(row.name)), [
    ['what', row => row.name.replace('_total', '').replace('total', 'failures')],
    ['failure', plain('failure')], ['outcome', plain('outcome'), false,
     row => row.outcome === 'masked' ? 'good' : ''],
    ['times', number('value'), true],
  ], 'Nothing has failed.');
  fill('pins', now.pins, [
    ['database', plain('database')], ['user', plain('user')], ['reason', plain('reason')],
    ['sessions', number('sessions'), true],
  ], 'None.');
  if (now.silent_workers.length > 0) {
    trouble('Worker ' + now.silent_workers.join(', ') +
            ' does not answer; what it knows is missing here.');
  } else {
    trouble('');
  }
  before = now;
}

function trouble(text) {
  byId('trouble').textContent = text;
  byId('trouble').hidden = text === '';
}

async function refresh() {
  try {
    const answer = await fetch('status.json', { cache: 'no-store' });
    if (!answer.ok) throw new Error('the answer is ' + answer.status);
    const now = await answer.json();
    if (!before || now.time_ms !== before.time_ms) show(now);
    document.body.dataset.fresh = String(Number(document.body.dataset.fresh || 0) + 1);
  } catch (error) {
    trouble('dwspool does not answer (' + error.message + '). What is here is old.');
  }
  setTimeout(refresh, every);
}
refresh();
)js";

}  // namespace dwspool::admin
