// An OpenID provider for the tests: `node server.js CONFIG`, in whose directory it leaves the keys of its clients and a
// record of the tokens that it gave away.
//
// CONFIG is JSON: { port, audience, ttl, clients: [{ id, secret, method, algorithm, ttl, claims }] }. `method` is how the client
// proves who it is; one with `private_key_jwt` gets a key in the file ID.pem. `ttl` is the lifetime of
// its tokens in seconds, if not that of all, and `claims` what its tokens' answers claim
// as their lifetime in seconds instead of the truth.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Provider from 'oidc-provider';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const directory = dirname(process.argv[2]);

function keys(algorithm) {
  return algorithm === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
}

function client({ id, secret, method, algorithm }) {
  const registered = {
    client_id: id,
    token_endpoint_auth_method: method,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: 'read',
  };
  if (method !== 'private_key_jwt') {
    return { ...registered, client_secret: secret };
  }
  const { publicKey, privateKey } = keys(algorithm);
  writeFileSync(join(directory, `${id}.pem`), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: `${id}-key`, use: 'sig', alg: algorithm };
  return { ...registered, token_endpoint_auth_signing_alg: algorithm, jwks: { keys: [jwk] } };
}

const entryOf = (id) => config.clients.find((entry) => entry.id === id);
const signing = { ...keys('RS256').privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
const provider = new Provider(`http://127.0.0.1:${config.port}`, {
  clients: config.clients.map(client),
  jwks: { keys: [signing] },
  cookies: { keys: [randomUUID()] },
  scopes: ['read'],
  // Where the official SDKs look for it.
  routes: { token: '/oauth/token' },
  ttl: { ClientCredentials: config.ttl },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // The SDKs name the API as `audience`.
      defaultResource: (ctx) => ctx.oidc.body?.audience,
      getResourceServerInfo: (_, resource, { clientId }) => ({
        audience: resource,
        scope: 'read',
        accessTokenTTL: entryOf(clientId).ttl ?? config.ttl,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

provider.use(async (ctx, next) => {
  await next();
  const entry = entryOf(ctx.oidc?.client?.clientId);
  if (ctx.oidc?.route !== 'token' || ctx.status !== 200 || !entry) return;
  const { exp } = JSON.parse(Buffer.from(ctx.body.access_token.split('.')[1], 'base64url'));
  const given = { client: entry.id, at: Date.now() / 1000, exp, scope: ctx.body.scope };
  appendFileSync(join(directory, 'given.jsonl'), `${JSON.stringify(given)}\n`);
  if (entry.claims) ctx.body.expires_in = entry.claims;
});

const server = provider.listen(config.port, '127.0.0.1');
server.on('error', (error) => {
  console.error(error.code === 'EADDRINUSE' ? 'address already in use' : error);
  process.exit(1);
});
