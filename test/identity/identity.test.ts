/** Credentials of every kind, and what is stored under their names. */
import { describe, expect, it } from 'vitest';
import { openIdentity, type Claim, type Credential } from '../../src/identity/identity.ts';
import type { JwtVerifier } from '../../src/identity/jwt.ts';
import { mintKey, mintSession } from '../../src/identity/token.ts';
import { key, user } from '../support/records.ts';
import { keyServer, NOW, sign, signer, verifier } from './support.ts';

const now = (): number => NOW * 1_000;
const minted = mintKey('acme', 'agent');
const session = mintSession('acme', 'alice', 's1');
const agent = key('agent', { secrets: [{ hash: minted.hash }] }).value;
const alice = user('alice', {
  sessions: [{ id: 's1', hash: session.hash, createdAt: now(), expiresAt: now() + 1_000 }],
}).value;

/** The claim of a credential that is known without waiting. */
function identifyNow(credential: Credential, jwt?: JwtVerifier): Claim | undefined {
  const claim = openIdentity({ jwt, now }).identify(credential);
  if (claim instanceof Promise) throw new Error('this credential is answered later');
  return 'unproven' in claim ? undefined : claim;
}

describe('an API key', () => {
  it.each([{ apiKey: minted.token }, { bearerToken: minted.token }])('as %o', (credential) => {
    const claim = identifyNow(credential);
    expect(claim).toMatchObject({ tenant: 'acme', keyId: 'agent' });
    expect(claim).not.toHaveProperty('subject');
    expect(claim?.proves({ key: agent, user: undefined })).toBe(true);
    expect(claim?.proves({ key: undefined, user: alice })).toBe(false);
    expect(claim?.proves({ key: { ...agent, revoked: true }, user: undefined })).toBe(false);
  });

  it('is proven by its own record only', () => {
    const claim = identifyNow({ apiKey: minted.token });
    expect(claim?.proves({ key: { ...agent, id: 'Agent' }, user: undefined })).toBe(false);
  });

  it('with any single character changed proves nothing', () => {
    const { token } = minted;
    for (let at = 0; at < token.length; at++) {
      for (const other of ['', 'A', 'B', 'x', '_', '.', '=', ' ']) {
        if (other === token[at]) continue;
        const changed = token.slice(0, at) + other + token.slice(at + 1);
        const claim = identifyNow({ apiKey: changed });
        // The record of the key that it names, where there is one.
        const found = claim?.tenant === 'acme' && claim.keyId === 'agent' ? agent : undefined;
        expect(claim?.proves({ key: found, user: undefined }) ?? false, changed).toBe(false);
      }
    }
  });

  it('of one tenant is another key in another tenant', () => {
    const there = minted.token.replace(/^pstk\.[^.]+/, `pstk.${btoa('evil').replaceAll('=', '')}`);
    const claim = identifyNow({ apiKey: there });
    expect(claim).toMatchObject({ tenant: 'evil', keyId: 'agent' });
    const theirs = key('agent', { secrets: [{ hash: mintKey('evil', 'agent').hash }] }).value;
    expect(claim?.proves({ key: theirs, user: undefined })).toBe(false);
  });
});

describe('a session', () => {
  const ways = [{ sessionToken: session.token }, { bearerToken: session.token }];

  it.each(ways)('as %o', (credential) => {
    const claim = identifyNow(credential);
    expect(claim).toMatchObject({ tenant: 'acme', subject: { type: 'user', id: 'alice' } });
    expect(claim).not.toHaveProperty('keyId');
    expect(claim?.proves({ key: undefined, user: alice })).toBe(true);
    expect(claim?.proves({ key: agent, user: undefined })).toBe(false);
    expect(claim?.proves({ key: undefined, user: { ...alice, id: 'bob' } })).toBe(false);
    expect(claim?.proves({ key: undefined, user: { ...alice, suspended: true } })).toBe(false);
  });

  it('ends while its claim is kept', () => {
    let time = now();
    const claim = openIdentity({ now: () => time }).identify({ sessionToken: session.token });
    if (claim instanceof Promise || 'unproven' in claim) return expect.fail('is not known at once');
    expect(claim.proves({ key: undefined, user: alice })).toBe(true);
    time += 1_000;
    expect(claim.proves({ key: undefined, user: alice })).toBe(false);
  });
});

describe('a JWT', () => {
  it('is a subject, at once when it is warm', async () => {
    const signs = await signer('k');
    const { url } = await keyServer(signs);
    const jwt = await verifier({ jwks_url: url });
    const bearerToken = await sign(signs);
    const cold = await openIdentity({ jwt, now }).identify({ bearerToken });
    expect(cold).toMatchObject({ tenant: 'acme', subject: { type: 'user', id: 'alice' } });
    const warm = identifyNow({ bearerToken }, jwt);
    expect(warm).toMatchObject({ tenant: 'acme', subject: { type: 'user', id: 'alice' } });
    // Whether there is such a user is for the engine to say.
    expect(warm?.proves({ key: undefined, user: undefined })).toBe(true);
    expect(await openIdentity({ jwt, now }).identify({ bearerToken: `${bearerToken}x` })).toEqual({
      unproven: 'malformed',
    });
    expect(identifyNow({ bearerToken })).toBeUndefined();
  });
});

describe('what is not known', () => {
  const neverAsked: JwtVerifier = {
    verify: () => expect.fail('this is no JWT'),
    hasKeys: () => true,
    ready: () => Promise.resolve(),
    close: () => {},
  };

  it.each<Credential>([
    { apiKey: session.token },
    { sessionToken: minted.token },
    { apiKey: '' },
    { sessionToken: '' },
    { apiKey: `Bearer ${minted.token}` },
    { bearerToken: minted.token.slice(0, -1) },
    { bearerToken: `${session.token}.x` },
    { bearerToken: 'pstk.' },
    { bearerToken: 'psts.a.b' },
  ])('%o', (credential) => {
    expect(identifyNow(credential, neverAsked)).toBeUndefined();
  });

  it('an empty bearer token', async () => {
    const jwt = await verifier({ jwks_url: (await keyServer()).url });
    expect(identifyNow({ bearerToken: '' }, jwt)).toBeUndefined();
  });
});
