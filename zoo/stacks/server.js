// A TLS server that stalls where a plan (JSON, first argument) says, with Node's tls; one JSON line an event.
'use strict';
const fs = require('fs'), net = require('net'), tls = require('tls');

const plan = JSON.parse(fs.readFileSync(process.argv[2]));
const say = (event) => console.log(JSON.stringify(event));
const now = () => Date.now() / 1e3;
let number = 0;

function stall(peer, stage, ms, then) {
  const t = now();
  setTimeout(() => { say({ ev: 'stall', stage, ms, t, t_end: now(), peer }); then(); }, ms);
}

const credentials = { cert: fs.readFileSync(plan.chain), key: fs.readFileSync(plan.key) };
const secure = tls.createSecureContext(credentials);
const ticketKeys = Buffer.alloc(48, 7);

function serve(socket) {
  const stalls = (plan.stalls || {})[String(number++)] || {}, peer = socket.remotePort;
  socket.setNoDelay(true);
  socket.on('error', () => {});
  const begin = () => {
    const stream = new tls.TLSSocket(socket, {
      isServer: true, server, ...credentials, ticketKeys,
      requestCert: !!plan.mtls, rejectUnauthorized: !!plan.mtls, ca: plan.mtls ? fs.readFileSync(plan.ca) : undefined,
      ecdhCurve: plan.hrr ? 'secp384r1' : undefined,
      SNICallback: (_name, done) => stalls.hello ? stall(peer, 'hello', stalls.hello, () => done(null, null)) : done(null, null),
    });
    stream.on('error', (e) => say({ ev: 'failed', peer, error: e.message }));
    stream.once('data', () => {
      const answer = () => stream.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n');
      if (stalls.answer) stall(peer, 'answer', stalls.answer, answer); else answer();
    });
  };
  if (stalls.accept) stall(peer, 'accept', stalls.accept, begin); else begin();
}

const server = tls.createServer({ ...credentials, ticketKeys });
for (const host of plan.addrs) net.createServer(serve).listen({ host, port: plan.port });
void secure;
