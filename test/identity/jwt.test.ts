/** JWTs that are good: what they prove, for how long, and what of it is kept. */
import { describe, expect, it } from 'vitest';
import { issuerProblem, openJwt, type Issuer } from '../../src/identity/jwt.ts';
import { keyServer, NOW, sign, signer, verifier } from './support.ts';

describe('a verified token', () => {
  it.each(['RS256', 'PS384', 'ES256', 'ES512', 'EdDSA'])('by %s proves a user', async (alg) => {
    const key = await signer('k', alg);
    const { url } = await keyServer(key);
    const jwt = await verifier({ jwks_url: url }, { algorithms: [alg] });
    expect(await jwt.verify(await sign(key))).toEqual({
      tenant: 'acme',
      subject: { type: 'user', id: 'alice' },
    });
  });

  it('has its tenant and its user from the claims that are configured', async () => {
    const key = await signer('k');
    const { url } = await keyServer(key);
    const fields = { tenant_claim: 'org', audience: ['a', 'b'] };
    const given = { org: 't', aud: ['x', 'b'], email: 'bob' };
    const named = await verifier({ jwks_url: url }, { ...fields, subject_claim: 'email' });
    expect(await named.verify(await sign(key, given))).toEqual({
      tenant: 't',
      subject: { type: 'user', id: 'bob' },
    });
    for (const org of [undefined, '', ' t', 7, ['t'], null])
      expect(await named.userOf(await sign(key, { org, aud: 'a', email: 'bob' }))).toBeUndefined();
    // Any name of a claim is an ordinary one, and what every object has is no claim (ID-3).
    for (const claim of ['constructor', '__proto__']) {
      const odd = await verifier({ jwks_url: url }, { ...fields, subject_claim: claim });
      expect(await odd.userOf(await sign(key, given))).toBeUndefined();
      const own: object = JSON.parse(`{"${claim}":"eve"}`);
      expect(await odd.userOf(await sign(key, { ...given, ...own }))).toBe('eve');
    }
  });

  it('is answered at once the second time, and no longer than it is good', async () => {
    const key = await signer('k');
    const { url } = await keyServer(key);
    const jwt = await verifier({ jwks_url: url }, { clock_tolerance_seconds: 0 });
    const token = await sign(key, { exp: NOW + 10 });
    expect(jwt.verify(token)).toBeInstanceOf(Promise);
    expect(await jwt.userOf(token)).toBe('alice');
    expect(jwt.verify(token)).toMatchObject({ subject: { id: 'alice' } });
    jwt.pass(9.999);
    expect(jwt.verify(token)).toMatchObject({ subject: { id: 'alice' } });
    jwt.pass(0.001);
    expect(await jwt.userOf(token)).toBeUndefined();
  });

  it('is verified anew after a minute', async () => {
    const key = await signer('k');
    const { url } = await keyServer(key);
    const jwt = await verifier({ jwks_url: url });
    const token = await sign(key);
    await jwt.verify(token);
    jwt.pass(60);
    expect(jwt.verify(token)).toBeInstanceOf(Promise);
    expect(await jwt.userOf(token)).toBe('alice');
  });

  it('is good within the tolerance of clocks', async () => {
    const key = await signer('k');
    const { url } = await keyServer(key);
    const jwt = await verifier({ jwks_url: url });
    expect(await jwt.userOf(await sign(key, { exp: NOW - 29, nbf: NOW + 30 }))).toBe('alice');
  });

  it('must not be older than configured, nor hide its age', async () => {
    const key = await signer('k');
    const { url } = await keyServer(key);
    const jwt = await verifier({ jwks_url: url }, { max_token_age_seconds: 60 });
    const token = await sign(key, { iat: NOW - 50 });
    expect(await jwt.userOf(token)).toBe('alice');
    for (const iat of [NOW - 91, undefined, NOW + 31, `${NOW}`])
      expect(await jwt.userOf(await sign(key, { iat }))).toBeUndefined();
    jwt.pass(41);
    expect(await jwt.userOf(token)).toBeUndefined();
  });

  it('belongs to its issuer: another one cannot sign it', async () => {
    const [ours, theirs] = [await signer('k'), await signer('k')];
    const [here, there] = [await keyServer(ours), await keyServer(theirs)];
    const issuer = { audience: 'postern', algorithms: ['ES256'] };
    const jwt = openJwt({
      issuers: [
        { ...issuer, issuer: 'a', tenant: 'tenant-a', jwks_url: here.url },
        { ...issuer, issuer: 'b', tenant: 'tenant-b', jwks_url: there.url },
      ],
      now: () => NOW * 1_000,
      onError: () => expect.fail('no error is expected'),
    });
    await jwt.ready();
    expect(await jwt.verify(await sign(ours, { iss: 'a' }))).toMatchObject({ tenant: 'tenant-a' });
    expect(await jwt.verify(await sign(theirs, { iss: 'b' }))).toMatchObject({
      tenant: 'tenant-b',
    });
    expect(await jwt.verify(await sign(theirs, { iss: 'a' }))).toEqual({
      unproven: 'bad_signature',
    });
    jwt.close();
  });
});

describe('an issuer', () => {
  const good: Issuer = {
    issuer: 'https://issuer.example',
    audience: 'postern',
    algorithms: ['RS256'],
    jwks_url: 'https://issuer.example/jwks',
    tenant: 'acme',
  };

  it.each<[string, Partial<Issuer>]>([
    ['https', {}],
    ['IPv4 loopback', { jwks_url: 'http://127.0.0.1:8080/jwks' }],
    ['short IPv4 loopback', { jwks_url: 'http://127.1/jwks' }],
    ['IPv6 loopback', { jwks_url: 'http://[::1]/jwks' }],
    ['localhost', { jwks_url: 'http://localhost/jwks' }],
    ['a file', { jwks_url: undefined, jwks_file: '/etc/jwks.json' }],
    ['a tenant claim', { tenant: undefined, tenant_claim: 'org' }],
  ])('is usable: %s', (_, fields) => {
    expect(issuerProblem({ ...good, ...fields })).toBeUndefined();
  });

  it.each<[Partial<Issuer>, string]>([
    [{ issuer: '' }, 'issuer is empty'],
    [{ audience: '' }, 'audience is empty'],
    [{ audience: [] }, 'audience is empty'],
    [{ audience: ['a', ''] }, 'audience is empty'],
    [{ algorithms: [] }, 'algorithms is empty'],
    [{ algorithms: ['RS256', 'HS256'] }, '`HS256` is not accepted'],
    [{ algorithms: ['none'] }, '`none` is not accepted'],
    [{ algorithms: ['rs256'] }, '`rs256` is not accepted'],
    [{ jwks_url: undefined }, 'exactly one of them'],
    [{ jwks_file: 'x' }, 'exactly one of them'],
    [{ jwks_url: undefined, jwks_file: '' }, 'jwks_file is empty'],
    [{ jwks_url: 'issuer.example/jwks' }, 'is not a URL'],
    [{ jwks_url: 'http://issuer.example/jwks' }, 'use https'],
    [{ jwks_url: 'http://127.0.0.1.evil.example/jwks' }, 'use https'],
    [{ jwks_url: 'http://localhost.evil.example/jwks' }, 'use https'],
    [{ jwks_url: 'http://0.0.0.0/jwks' }, 'use https'],
    [{ jwks_url: 'file:///etc/passwd' }, 'use https'],
    [{ jwks_url: 'data:application/json,{}' }, 'use https'],
    [{ jwks_url: 'https://issuer.example/jwks#x' }, 'fragment'],
    [{ subject_claim: '' }, 'subject_claim is empty'],
    [{ tenant: undefined }, 'exactly one of them'],
    [{ tenant_claim: 'org' }, 'exactly one of them'],
    [{ tenant: undefined, tenant_claim: '' }, 'tenant_claim is empty'],
    [{ tenant: ' acme' }, 'tenant ` acme` has white space'],
    [{ refresh_seconds: 0 }, 'refresh_seconds `0` is out of range'],
    [{ timeout_ms: Number.NaN }, 'timeout_ms `NaN` is out of range'],
    [{ clock_tolerance_seconds: 3_600 }, 'clock_tolerance_seconds `3600` is out of range'],
    [{ max_age_seconds: 60 }, 'is below refresh_seconds'],
  ])('is refused: %o', (fields, problem) => {
    const issuer = { ...good, ...fields };
    expect(issuerProblem(issuer)).toContain(problem);
    expect(() => openJwt({ issuers: [issuer], now: Date.now, onError: () => {} })).toThrow(problem);
  });

  it('shows no password of its URL', () => {
    const problem = issuerProblem({ ...good, jwks_url: 'https://me:hunter2@issuer.example/' });
    expect(problem).toContain('password');
    expect(problem).not.toContain('hunter2');
  });

  it('is there once', () => {
    const options = { issuers: [good, good], now: Date.now, onError: () => {} };
    expect(() => openJwt(options)).toThrow('is there twice');
  });
});
