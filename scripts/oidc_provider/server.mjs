// A real OpenID Provider for tests: `node server.mjs` reads {port, client, people} as JSON on stdin, prints its issuer.
// people: {login: claims}; any password will do, as its own development pages have it.
import Provider from "oidc-provider";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { port, client, people } = JSON.parse(Buffer.concat(chunks).toString());
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [client],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
  scopes: ["openid", "email", "profile", "groups", "offline_access"],
  conformIdTokenClaims: false, // claims in the id token, as most providers of companies do
  features: { devInteractions: { enabled: true }, userinfo: { enabled: true } },
  pkce: { required: () => true },
  async findAccount(_context, login) {
    const claims = people[login];
    return claims && { accountId: login, claims: async () => ({ sub: login, ...claims }) };
  },
});
provider.listen(port, "127.0.0.1", () => console.log(issuer));
