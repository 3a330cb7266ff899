/** The keys of an issuer: rotation, outages, and answers that are none. */
import { writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { exportJWK, type JWK } from 'jose';
import { describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../support/temporary.ts';
import { claims, keyServer, NOW, raw, sign, signer, verifier, type Signer } from './support.ts';

const DAY = 86_400;
/** Tokens for as long as a test takes. */
const LONG = { exp: NOW + 10 * DAY };

const answerWith =
  (status: number, body = '', headers: Readonly<Record<string, string>> = {}) =>
  (_: unknown, response: ServerResponse): void =>
    void response.writeHead(status, headers).end(body);

/** A server that is away: it takes the call and drops it. */
const dropped = (_: unknown, response: ServerResponse): void => void response.destroy();

describe('rotation', () => {
  it('is picked up by the first token of a new key, by one read for all of them', async () => {
    const [old, next] = [await signer('old'), await signer('new')];
    const server = await keyServer(old);
    const jwt = await verifier({ jwks_url: server.url });
    expect(await jwt.userOf(await sign(old))).toBe('alice');
    server.serve([old, next]);
    const tokens = await Promise.all(['a', 'b', 'c', 'd'].map((sub) => sign(next, { sub })));
    expect(await jwt.userOf(tokens[0] ?? '')).toBeUndefined();
    jwt.pass(30);
    expect(await Promise.all(tokens.map((token) => jwt.userOf(token)))).toEqual([
      'a',
      'b',
      'c',
      'd',
    ]);
    expect(server.asked.length).toBe(2);
  });

  it('takes away what the old key proved, as soon as it is seen', async () => {
    const [old, next] = [await signer('old'), await signer('new')];
    const server = await keyServer(old);
    const jwt = await verifier({ jwks_url: server.url });
    const token = await sign(old);
    expect(await jwt.userOf(token)).toBe('alice');
    server.serve([next]);
    jwt.pass(30);
    expect(jwt.verify(token)).toMatchObject({ subject: { id: 'alice' } });
    expect(await jwt.userOf(await sign(next))).toBe('alice');
    expect(await jwt.userOf(token)).toBeUndefined();
  });

  it('is seen by the regular read, without an unknown name', async () => {
    const [old, next] = [await signer('same'), await signer('same')];
    const server = await keyServer(old);
    const jwt = await verifier({ jwks_url: server.url });
    server.serve([next]);
    jwt.pass(300);
    expect(await jwt.userOf(await sign(old))).toBe('alice');
    await expect.poll(() => server.asked.length).toBe(2);
    await expect.poll(async () => jwt.userOf(await sign(old))).toBeUndefined();
    expect(await jwt.userOf(await sign(next))).toBe('alice');
  });

  it('that has not taken place costs nothing: what was verified stays so', async () => {
    const [known, unknown] = [await signer('known'), await signer('unknown')];
    const server = await keyServer(known);
    const jwt = await verifier({ jwks_url: server.url });
    const token = await sign(known);
    expect(await jwt.userOf(token)).toBe('alice');
    jwt.pass(30);
    expect(await jwt.userOf(await sign(unknown))).toBeUndefined();
    expect(server.asked.length).toBe(2);
    expect(jwt.verify(token)).toMatchObject({ subject: { id: 'alice' } });
  });

  it('waits for the read that is on its way, however long that takes', async () => {
    const [old, next] = [await signer('old'), await signer('new')];
    const server = await keyServer(old);
    const jwt = await verifier({ jwks_url: server.url });
    let answer: (() => void) | undefined;
    server.serve((_, response) => {
      answer = () => response.end(JSON.stringify({ keys: [next.jwk] }));
    });
    const token = await sign(next);
    jwt.pass(30);
    const first = jwt.userOf(token);
    await expect.poll(() => answer).toBeDefined();
    jwt.pass(30);
    const second = jwt.userOf(token);
    await new Promise((done) => setTimeout(done, 50));
    answer?.();
    expect(await Promise.all([first, second])).toEqual(['alice', 'alice']);
    expect(server.asked.length).toBe(2);
  });

  it('a flood of unknown names makes one read a cooldown', async () => {
    const [known, unknown] = [await signer('known'), await signer('unknown')];
    const server = await keyServer(known);
    const jwt = await verifier({ jwks_url: server.url });
    const flood = async (): Promise<void> => {
      const tokens = Array.from({ length: 200 }, (_, at) => sign(unknown, {}, { kid: `k${at}` }));
      for (const token of tokens) expect(await jwt.userOf(await token)).toBeUndefined();
    };
    await flood();
    expect(server.asked.length).toBe(1);
    jwt.pass(30);
    await flood();
    expect(server.asked.length).toBe(2);
    jwt.pass(29);
    await flood();
    expect(server.asked.length).toBe(2);
  });

  it('a token without a key name must fit one key only', async () => {
    const [one, two] = [await signer('one'), await signer('two')];
    const server = await keyServer(one);
    const alone = await verifier({ jwks_url: server.url });
    expect(await alone.userOf(await sign(one, {}, { kid: undefined }))).toBe('alice');
    server.serve([one, two]);
    const both = await verifier({ jwks_url: server.url });
    expect(await both.userOf(await sign(one, {}, { kid: undefined }))).toBeUndefined();
  });
});

describe('a set of thousands of keys', () => {
  const many = (count: number, key: object): string =>
    JSON.stringify({ keys: Array.from({ length: count }, (_, n) => ({ ...key, kid: `k${n}` })) });

  it('is refused by a cap that names itself; the last good one serves', async () => {
    const key = await signer('good');
    const server = await keyServer(key);
    const jwt = await verifier({ jwks_url: server.url });
    const token = await sign(key, LONG);
    expect(await jwt.userOf(token)).toBe('alice');
    server.serve(answerWith(200, many(4_000, key.jwk)));
    jwt.pass(300);
    expect(await jwt.userOf(token)).toBe('alice');
    await expect.poll(() => jwt.errors.length).toBe(1);
    expect(String(jwt.errors[0])).toContain('it has 4000 keys: at most 256 are taken');
    expect(await jwt.userOf(await sign(key, LONG))).toBe('alice');
    expect(jwt.reads).toEqual([true, false]);
  });

  it.each([null, 5, [], { keys: null }, { keys: 'x' }, { keys: { length: 9_999 } }])(
    'or %j is told as what it is',
    async (set) => {
      const server = await keyServer();
      server.serve(answerWith(200, JSON.stringify(set)));
      const jwt = await verifier({ jwks_url: server.url });
      expect(String(jwt.errors[0])).toMatch(/JSON Web Key Set malformed|keys can verify/);
      expect(jwt.reads).toEqual([false]);
    },
  );
});

describe('an issuer that is away', () => {
  it('is served for by its last good keys, up to their age; its reads keep their distance', async () => {
    const key = await signer('k');
    const server = await keyServer(key);
    const jwt = await verifier({ jwks_url: server.url });
    const token = await sign(key, LONG);
    expect(await jwt.userOf(token)).toBe('alice');
    server.serve(dropped);
    for (let hour = 1; hour < 24; hour++) {
      jwt.pass(3_600);
      expect(await jwt.userOf(token)).toBe('alice');
      await expect.poll(() => jwt.errors.length).toBe(hour);
    }
    expect(String(jwt.errors[0])).toContain(`cannot be read from \`${server.url}\``);
    jwt.pass(3_599);
    expect(await jwt.userOf(token)).toBe('alice');
    jwt.pass(1);
    expect(await jwt.userOf(token)).toBeUndefined();
    server.serve([key]);
    jwt.pass(1);
    expect(await jwt.userOf(token)).toBe('alice');
  });

  it('does not let what was verified outlive its keys', async () => {
    const key = await signer('k');
    const server = await keyServer(key);
    const fields = { max_age_seconds: 10, refresh_seconds: 10 };
    const jwt = await verifier({ jwks_url: server.url }, fields);
    const token = await sign(key, LONG);
    expect(await jwt.userOf(token)).toBe('alice');
    server.serve(dropped);
    jwt.pass(10);
    expect(await jwt.userOf(token)).toBeUndefined();
  });

  it('at the start proves nobody until it is there, and is asked once a second', async () => {
    const key = await signer('k');
    const server = await keyServer();
    server.serve(dropped);
    const jwt = await verifier({ jwks_url: server.url });
    const token = await sign(key);
    for (let at = 0; at < 20; at++) expect(await jwt.userOf(token)).toBeUndefined();
    const { length } = server.asked;
    server.serve([key]);
    expect(await jwt.userOf(token)).toBeUndefined();
    expect(server.asked.length).toBe(length);
    jwt.pass(1);
    expect(await jwt.userOf(token)).toBe('alice');
  });

  it.each([
    ['never answers', (): void => {}],
    ['sends its answer for ever', drip],
  ])('and %s is given up', async (_, listener) => {
    const server = await keyServer();
    server.serve(listener);
    const jwt = await verifier({ jwks_url: server.url }, { timeout_ms: 200 });
    expect(String(jwt.errors[0])).toMatch(/timeout/);
    expect(await jwt.userOf(await sign(await signer('k')))).toBeUndefined();
  });

  it('is not asked after the end', async () => {
    const key = await signer('k');
    const server = await keyServer(key);
    const jwt = await verifier({ jwks_url: server.url });
    jwt.close();
    jwt.pass(DAY);
    expect(await jwt.userOf(await sign(key, LONG))).toBeUndefined();
    expect(server.asked.length).toBe(1);
    expect(jwt.errors).toEqual([]);
  });
});

describe('an answer that is none', () => {
  it('a redirect is not followed', async () => {
    const key = await signer('k');
    const target = await keyServer(key);
    for (const status of [301, 302, 303, 307, 308]) {
      const server = await keyServer();
      server.serve(answerWith(status, '', { location: target.url }));
      const jwt = await verifier({ jwks_url: server.url });
      expect(await jwt.userOf(await sign(key))).toBeUndefined();
      expect(String(jwt.errors[0])).toContain('redirect');
    }
    expect(target.asked).toEqual([]);
  });

  it.each(['said', 'not said', 'compressed'])('of too many bytes, %s', async (how) => {
    const key = await signer('k');
    const body = JSON.stringify({ keys: [key.jwk], filler: 'x'.repeat(1_048_576) });
    const server = await keyServer();
    const gzip = gzipSync(body);
    expect(gzip.length).toBeLessThan(10_000);
    server.serve((_, response) => {
      if (how === 'compressed') response.setHeader('content-encoding', 'gzip').end(gzip);
      else if (how === 'said') response.end(body);
      else response.write(body, () => response.end());
    });
    const jwt = await verifier({ jwks_url: server.url });
    expect(await jwt.userOf(await sign(key))).toBeUndefined();
    expect(String(jwt.errors[0])).toContain('more than 1048576 bytes');
  });

  it('a status, a text or a shape that is wrong leaves the last good keys', async () => {
    const key = await signer('k');
    const server = await keyServer(key);
    const jwt = await verifier({ jwks_url: server.url });
    const bodies = [
      '',
      'secret',
      '[]',
      'null',
      '{}',
      '{"keys":{}}',
      '{"keys":[7]}',
      '{"keys":"x"}',
    ];
    const answers = [
      ...bodies.map((body) => answerWith(200, body)),
      answerWith(500, JSON.stringify({ keys: [] })),
      answerWith(204),
    ];
    for (const [at, answer] of answers.entries()) {
      server.serve(answer);
      jwt.pass(300);
      expect(await jwt.userOf(await sign(key, LONG))).toBe('alice');
      await expect.poll(() => jwt.errors.length).toBe(at + 1);
    }
    expect(jwt.errors.join('\n')).not.toContain('secret');
  });

  it('keys that must not be there are not used', async () => {
    const key = await signer('k');
    const secret: JWK = { kty: 'oct', k: 'c2VjcmV0', kid: 'oct', alg: 'HS256' };
    const own: JWK = { ...(await exportJWK(key.privateKey)), kid: 'private' };
    const encrypting: JWK = { ...key.jwk, kid: 'enc', use: 'enc' };
    const server = await keyServer();
    const body = JSON.stringify({ keys: [secret, own, encrypting] });
    server.serve(answerWith(200, body));
    const jwt = await verifier({ jwks_url: server.url });
    for (const kid of ['oct', 'private', 'enc'])
      expect(await jwt.userOf(await sign(key, {}, { kid }))).toBeUndefined();
  });

  it('a key that cannot be used is told once, however many tokens name it', async () => {
    const key = await signer('k');
    const weak = await weakSigner();
    const server = await keyServer(key, weak);
    const jwt = await verifier({ jwks_url: server.url });
    for (const sub of ['a', 'b', 'c'])
      expect(await jwt.userOf(await forged(weak, sub))).toBeUndefined();
    expect(jwt.errors.length).toBe(1);
    expect(await jwt.userOf(await sign(key))).toBe('alice');
  });
});

describe('a file', () => {
  it('is read at the start and again, and its last good keys serve', async () => {
    const [old, next] = [await signer('old'), await signer('new')];
    const file = join(temporaryDirectory(), 'jwks.json');
    const write = (...keys: readonly Signer[]): void =>
      writeFileSync(file, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
    write(old);
    const jwt = await verifier({ jwks_file: file });
    expect(await jwt.userOf(await sign(old, LONG))).toBe('alice');
    write(next);
    jwt.pass(30);
    expect(await jwt.userOf(await sign(next, LONG))).toBe('alice');
    expect(await jwt.userOf(await sign(old, LONG))).toBeUndefined();
    writeFileSync(file, 'x'.repeat(1_048_577));
    jwt.pass(300);
    expect(await jwt.userOf(await sign(next, LONG))).toBe('alice');
    await expect.poll(() => String(jwt.errors)).toContain('more than');
  });

  it('that is not there is told', async () => {
    const file = join(temporaryDirectory(), 'absent.json');
    const jwt = await verifier({ jwks_file: file });
    expect(String(jwt.errors[0])).toContain(`cannot be read from \`${file}\``);
    expect(await jwt.userOf(await sign(await signer('k')))).toBeUndefined();
  });
});

/** White space, which JSON may have any amount of. */
function drip(_: unknown, response: ServerResponse): void {
  const timer = setInterval(() => response.write(' '), 20);
  response.on('close', () => clearInterval(timer));
}

/** A signer whose RSA key is too short to be trusted. */
async function weakSigner(): Promise<Signer> {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 1_024,
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const { privateKey, publicKey } = pair;
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid: 'weak' };
  return { alg: 'RS256', kid: 'weak', privateKey, publicKey, jwk };
}

/** jose does not sign with such a key. */
async function forged(by: Signer, sub: string): Promise<string> {
  const unsigned = raw({ alg: by.alg, kid: by.kid }, claims({ sub })).slice(0, -1);
  const input = Buffer.from(unsigned);
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', by.privateKey, input);
  return `${unsigned}.${Buffer.from(signature).toString('base64url')}`;
}
