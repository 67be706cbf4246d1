// One HTTPS request with Node's https: its name, the roots, the TLS version.
const [name, roots, version] = process.argv.slice(1);
const options = { ca: require('fs').readFileSync(roots), agent: false, maxVersion: 'TLSv' + version };
require('https').get(`https://${name}/`, options, (answer) => answer.resume());
