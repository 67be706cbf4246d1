// An HTTPS server with Node's https: where it listens, its chain and key.
const fs = require('fs');
const [address, port, chain, key] = process.argv.slice(1);
const server = require('https').createServer({ cert: fs.readFileSync(chain), key: fs.readFileSync(key) }, (_, answer) => answer.end('ok\n'));
server.listen(Number(port), address);
