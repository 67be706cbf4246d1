// Handshakes as a plan (JSON, first argument) asks for, with Node's tls; one JSON line an event on standard output.
// The TLS stream runs over a stream of our own, so that the program can hold what it writes.
'use strict';
const fs = require('fs'), net = require('net'), tls = require('tls'), { Duplex } = require('stream');

const plan = JSON.parse(fs.readFileSync(process.argv[2]));
const say = (event) => console.log(JSON.stringify(event));
const now = () => Date.now() / 1e3;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let session;

async function stall(port, stage, ms) {
  const t = now();
  await sleep(ms);
  say({ ev: 'stall', stage, ms, t, t_end: now(), port });
}

function held(socket, port, ms) {
  let writes = 0;
  const middle = new Duplex({
    read() {},
    async write(chunk, _encoding, done) {
      writes += chunk.length === 6 && chunk[0] === 20 ? 0 : 1;
      if (writes === 2) await stall(port, 'finished', ms);
      socket.write(chunk, done);
    },
    final(done) { socket.end(done); },
  });
  socket.on('data', (chunk) => middle.push(chunk));
  socket.on('end', () => middle.push(null));
  socket.on('error', (e) => middle.destroy(e));
  return middle;
}

function run(one) {
  return new Promise((resolve) => {
    const stalls = one.stall || {};
    let port = null, resumed = false, error = null, ended = false;
    const socket = net.connect({ host: one.addr, port: one.port, noDelay: true });
    const done = () => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      socket.destroy();
      say({ ev: 'done', ok: !error, error, resumed, port, t: now() });
      resolve();
    };
    const timer = setTimeout(() => { error = 'timed out'; done(); }, plan.timeout_ms);
    socket.on('error', (e) => { error = error || e.message; done(); });
    socket.on('connect', async () => {
      port = socket.localPort;
      if (stalls.hello) await stall(port, 'hello', stalls.hello);
      const options = {
        socket: stalls.finished ? held(socket, port, stalls.finished) : socket,
        servername: 'lab.test', ca: one.distrust ? [] : fs.readFileSync(plan.ca),
        maxVersion: 'TLSv' + plan.version, session: plan.resume ? session : undefined,
      };
      if (one.old) Object.assign(options, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
      if (plan.mtls && !one.no_cert) Object.assign(options, { cert: fs.readFileSync(plan.cert), key: fs.readFileSync(plan.key) });
      const stream = tls.connect(options, () => {
        resumed = stream.isSessionReused();
        stream.write('GET / HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n');
      });
      stream.on('session', (s) => { session = s; });
      stream.on('error', (e) => { error = error || e.message; setTimeout(done, 20); });
      stream.on('data', () => {});
      stream.on('end', () => { stream.end(); setTimeout(done, 5); });
      stream.on('close', done);
    });
  });
}

(async () => {
  const all = [];
  for (const one of plan.handshakes) {
    const run_ = run(one);
    all.push(run_);
    if (!plan.concurrent) await run_;
    await sleep(plan.gap_ms);
  }
  await Promise.all(all);
})();
