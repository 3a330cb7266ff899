/** JWTs that somebody else made, or made for somebody else: none proves anybody, and no stranger's server is asked. */
import { createHmac } from 'node:crypto';
import { CompactEncrypt, exportSPKI, UnsecuredJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  claims,
  keyServer,
  NOW,
  raw,
  sign,
  signer,
  verifier,
  type KeyServer,
  type Signer,
  type TestVerifier,
} from './support.ts';

let rsa: Signer;
let ec: Signer;
let stranger: Signer;

beforeAll(async () => {
  [rsa, ec, stranger] = await Promise.all([
    signer('rsa', 'RS256'),
    signer('ec'),
    signer('rsa', 'RS256'),
  ]);
});

async function open(): Promise<{ readonly jwt: TestVerifier; readonly server: KeyServer }> {
  const server = await keyServer(rsa, ec);
  return { jwt: await verifier({ jwks_url: server.url }), server };
}

/** Which of some tokens are accepted, once it is shown that all that is wrong is the tokens. */
async function accepted(...tokens: readonly string[]): Promise<string[]> {
  const { jwt, server } = await open();
  expect(await jwt.userOf(await sign(rsa))).toBe('alice');
  const users = await Promise.all(tokens.map((token) => jwt.userOf(token)));
  expect(server.asked).toEqual(['/jwks']);
  expect(jwt.errors).toEqual([]);
  return tokens.filter((_, at) => users[at] !== undefined);
}

describe('a JWT is refused', () => {
  it('without a signature, whatever its algorithm is called', async () => {
    const unsigned = new UnsecuredJWT(claims()).encode();
    const names = ['none', 'None', 'NONE', 'nOnE', '', null, 0, ['RS256'], undefined];
    const tokens = names.map((alg) => raw({ alg, kid: 'rsa' }, claims()));
    const signed = await sign(rsa);
    expect(
      await accepted(unsigned, ...tokens, signed.slice(0, signed.lastIndexOf('.') + 1)),
    ).toEqual([]);
  });

  it('signed by HMAC with the public key', async () => {
    const pem = await exportSPKI(rsa.publicKey);
    const secrets = [pem, pem.trim(), JSON.stringify(rsa.jwk), rsa.jwk.n ?? ''];
    const tokens = secrets.flatMap((secret) =>
      ['HS256', 'RS256'].map((alg) => {
        const [header, payload] = raw({ alg, kid: 'rsa', typ: 'JWT' }, claims()).split('.');
        const input = `${header}.${payload}`;
        return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
      }),
    );
    expect(await accepted(...tokens)).toEqual([]);
  });

  it('signed with another key of the same name', async () => {
    expect(
      await accepted(await sign(stranger), await sign(stranger, {}, { kid: undefined })),
    ).toEqual([]);
  });

  it('with a key name that is a path, a query, a property', async () => {
    const kids = [
      '../../../../dev/null',
      '/dev/null',
      "x' UNION SELECT 'secret' --",
      '__proto__',
      'constructor',
      'toString',
      '',
      'rsa\0',
      '0',
      'http://127.0.0.1/',
    ];
    for (const kid of kids) expect(await accepted(await sign(stranger, {}, { kid }))).toEqual([]);
    const odd = [null, 0, true, ['rsa'], { toString: 'rsa' }];
    const signature = (await sign(rsa)).split('.')[2] ?? '';
    for (const kid of odd)
      expect(
        await accepted(raw({ alg: 'RS256', kid }, claims(), Buffer.from(signature, 'base64url'))),
      ).toEqual([]);
  });

  it.each(['aud', 'iss', 'exp', 'sub'])('without %s', async (claim) => {
    expect(await accepted(await sign(rsa, { [claim]: undefined }))).toEqual([]);
  });

  it('for another audience', async () => {
    for (const aud of ['other', 'Postern', '', [], ['other'], 'postern ', { postern: true }, null])
      expect(await accepted(await sign(rsa, { aud }))).toEqual([]);
  });

  it('of another issuer', async () => {
    const wrong = ['https://issuer.example/', 'https://evil.example', 'HTTPS://ISSUER.EXAMPLE', ''];
    for (const iss of [...wrong, '__proto__', ['https://issuer.example'], null, 7])
      expect(await accepted(await sign(rsa, { iss }))).toEqual([]);
  });

  it('that has expired, is not good yet, or says so in another type', async () => {
    const wrong = [
      { exp: NOW - 31 },
      { exp: NOW - 30 },
      { exp: 0 },
      { exp: -1 },
      { exp: `${NOW + 600}` },
      { exp: null },
      { nbf: NOW + 31 },
      { nbf: `${NOW}` },
    ];
    for (const changes of wrong) expect(await accepted(await sign(rsa, changes))).toEqual([]);
  });

  it('that was altered, cut or added to', async () => {
    const token = await sign(rsa);
    const [header = '', payload = '', signature = ''] = token.split('.');
    const [, forged] = raw({}, claims({ sub: 'root' })).split('.');
    const more = ['.', '.x', '..', '.x.x', '=', '\n', '\0'].map((end) => `${token}${end}`);
    const around = [...more, `.${token}`, ` ${token}`, `Bearer ${token}`];
    const parts = [`${header}.${payload}`, header, `${payload}.${signature}`];
    const cut = [...parts, '', '.', '..', '...', token.slice(0, -1), token.slice(1)];
    expect(
      await accepted(
        `${header}.${forged}.${signature}`,
        `${raw({ alg: 'RS256', kid: 'rsa', typ: 'JWT' }, {}).split('.')[0]}.${payload}.${signature}`,
        ...around,
        ...cut,
      ),
    ).toEqual([]);
  });

  it('by every change of a single character', async () => {
    const { jwt } = await open();
    const token = await sign(ec);
    for (let at = 0; at < token.length; at++) {
      for (const by of ['A', 'B', '_', '=', '.', ' ']) {
        if (token[at] === by) continue;
        const changed = `${token.slice(0, at)}${by}${token.slice(at + 1)}`;
        expect(await jwt.userOf(changed), changed).toBeUndefined();
      }
    }
    expect(await jwt.userOf(token)).toBe('alice');
  });

  it('in a second spelling of its bits', async () => {
    const token = await sign(rsa);
    // 256 bytes leave four bits of the last character unused.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(token.at(-1) ?? '');
    const same = [1, 2, 3].map((bits) => `${token.slice(0, -1)}${alphabet[last + bits]}`);
    for (const spelling of same)
      expect(Buffer.from(spelling.split('.')[2] ?? '', 'base64url')).toEqual(
        Buffer.from(token.split('.')[2] ?? '', 'base64url'),
      );
    expect(await accepted(...same)).toEqual([]);
  });

  it('that is encrypted', async () => {
    const token = await new CompactEncrypt(Buffer.from(await sign(rsa)))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', kid: 'rsa' })
      .encrypt(rsa.jwk);
    expect(await accepted(token)).toEqual([]);
  });

  it('that is huge, or nested deep', async () => {
    const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`;
    expect(
      await accepted(
        await sign(rsa, { filler: 'x'.repeat(20_000) }),
        'x'.repeat(10_000_000),
        '.'.repeat(16_384),
        `${raw({ alg: 'RS256', kid: 'rsa' }, {}).split('.')[0]}.${Buffer.from(deep).toString('base64url')}.AA`,
      ),
    ).toEqual([]);
  });

  it('of a subject that is no id', async () => {
    const wrong = ['', ' alice', 'alice ', 'a\nb', 'a\0', 'x'.repeat(257), 'é'.normalize('NFD')];
    const typed = [7, true, null, ['alice'], { id: 'alice' }];
    for (const sub of [...wrong, ...typed])
      expect(await accepted(await sign(rsa, { sub }))).toEqual([]);
  });

  it('of an algorithm that is not on the list, with a key that is', async () => {
    const { privateKey } = rsa;
    for (const alg of ['RS384', 'RS512']) {
      const subtle = { name: 'RSASSA-PKCS1-v1_5', hash: alg.replace('RS', 'SHA-') };
      const pkcs8 = await crypto.subtle.exportKey('pkcs8', privateKey);
      const key = await crypto.subtle.importKey('pkcs8', pkcs8, subtle, true, ['sign']);
      expect(await accepted(await sign({ ...rsa, alg, privateKey: key }))).toEqual([]);
    }
    expect(await accepted(raw({ alg: 'ES256', kid: 'rsa' }, claims(), Buffer.alloc(64)))).toEqual(
      [],
    );
  });

  it('with a null signature of an elliptic curve', async () => {
    expect(await accepted(raw({ alg: 'ES256', kid: 'ec' }, claims(), Buffer.alloc(64)))).toEqual(
      [],
    );
  });

  it('with extensions that must be understood, or a payload that is not encoded', async () => {
    expect(
      await accepted(
        raw({ alg: 'RS256', kid: 'rsa', crit: ['x'], x: 1 }, claims()),
        raw({ alg: 'RS256', kid: 'rsa', crit: [] }, claims()),
        raw({ alg: 'RS256', kid: 'rsa', crit: ['b64'], b64: false }, claims()),
      ),
    ).toEqual([]);
  });

  it('of a type that does not say who calls', async () => {
    for (const typ of ['logout+jwt', 'dpop+jwt', 'application/secevent+jwt', 'JWE', ''])
      expect(await accepted(await sign(rsa, {}, { typ }))).toEqual([]);
    const { jwt } = await open();
    for (const typ of ['JWT', 'jwt', 'at+jwt', 'application/at+jwt', undefined])
      expect(await jwt.userOf(await sign(rsa, {}, { typ })), typ).toBe('alice');
  });
});

describe('keys that a token brings along', () => {
  it('are not used, and nobody else is asked for them', async () => {
    const attacker = await keyServer(stranger);
    const evil = await signer('evil', 'RS256');
    attacker.serve([stranger, evil]);
    const { jwt, server } = await open();
    const headers = [
      { jku: attacker.url },
      { jku: attacker.url, kid: 'evil' },
      { x5u: attacker.url },
      { jwk: evil.jwk },
      { jwk: evil.jwk, kid: undefined },
      { x5c: ['MIIB'], 'x5t#S256': 'x' },
      { kid: attacker.url },
    ];
    for (const header of headers) {
      expect(await jwt.userOf(await sign(evil, {}, header))).toBeUndefined();
      expect(await jwt.userOf(await sign(evil, { iss: attacker.url }, header))).toBeUndefined();
    }
    expect(attacker.asked).toEqual([]);
    expect(server.asked).toEqual(['/jwks']);
  });
});
