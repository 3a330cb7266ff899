/** Postern's own credentials: what parses, and nothing else; what proves, and how alike all refusals are. */
import * as crypto from 'node:crypto';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { idProblem } from '../../src/engine/id.ts';
import type { KeyRecord, SessionRow, UserRecord } from '../../src/engine/records.ts';
import {
  keyIsLive,
  mintKey,
  mintSession,
  newId,
  parseToken,
  provesKey,
  provesSession,
} from '../../src/identity/token.ts';
import fc from '../support/fast-check.ts';
import { key, user } from '../support/records.ts';

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof crypto>();
  return { ...real, timingSafeEqual: vi.fn<typeof real.timingSafeEqual>(real.timingSafeEqual) };
});

const compared = vi.mocked(crypto.timingSafeEqual);
beforeEach(() => void compared.mockClear());

const NOW = 1_800_000_000_000;
const ids = fc.oneof(
  fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }),
  fc.constantFrom('__proto__', 'a.b', '*', '.', '…', '\uFEFFx', 'x'.repeat(256), 'pstk'),
);
const goodIds = ids.filter((id) => idProblem(id) === undefined);

/** Bytes that are the same under another text, and a check that they are. */
const b64 = (text: string | Buffer): string => Buffer.from(text).toString('base64url');

describe('a token', () => {
  it('says what it was minted for', () => {
    fc.assert(
      fc.property(goodIds, goodIds, goodIds, (tenant, a, b) => {
        const forKey = mintKey(tenant, a);
        expect(parseToken(forKey.token)).toEqual({
          kind: 'key',
          tenant,
          keyId: a,
          hash: forKey.hash,
        });
        const forSession = mintSession(tenant, a, b);
        expect(parseToken(forSession.token)).toEqual({
          kind: 'session',
          tenant,
          user: a,
          sessionId: b,
          hash: forSession.hash,
        });
      }),
    );
  });

  it('keeps of its secret what does not tell it', () => {
    const { token, hash } = mintKey('acme', 'agent');
    const secret = token.split('.')[3] ?? '';
    expect(Buffer.from(secret, 'base64url').length).toBe(32);
    expect(secret.length).toBe(43);
    expect(hash).toBe(crypto.createHash('sha256').update(secret).digest('base64url'));
    expect(token).not.toContain(hash);
    expect(mintKey('acme', 'agent').token).not.toBe(token);
  });

  it('is as long as it may be, and is refused far beyond', () => {
    const long = 'x'.repeat(256);
    expect(parseToken(mintSession(long, long, long).token)).toBeDefined();
    expect(parseToken(`pstk.${'x'.repeat(50_000_000)}`)).toBeUndefined();
  });

  it('is not minted for what is no id', () => {
    for (const bad of ['', ' a', 'a\n', 'x'.repeat(257), '\uD800', 'é'.normalize('NFD')]) {
      expect(() => mintKey(bad, 'k')).toThrow('the id');
      expect(() => mintKey('t', bad)).toThrow('the id');
      expect(() => mintSession('t', 'u', bad)).toThrow('the id');
    }
  });

  it('with any single character changed says something else, or nothing', () => {
    for (const minted of [mintKey('acme', 'agent-1'), mintSession('acme', 'alice', 's-1')]) {
      const { token } = minted;
      const said = parseToken(token);
      const others = 'ABYZabyz0189-_.=+/ \n\0é'.split('');
      for (let at = 0; at < token.length; at++) {
        for (const other of ['', ...others, token[at] === 'x' ? 'y' : 'x']) {
          if (other === token[at]) continue;
          const changed = parseToken(token.slice(0, at) + other + token.slice(at + 1));
          if (changed === undefined) continue;
          // Then it names another record, or has another secret; never the same again by another spelling.
          expect(changed).not.toEqual(said);
          if (at >= token.lastIndexOf('.')) expect(changed.hash).not.toBe(minted.hash);
        }
      }
    }
  });

  it('has one spelling: what parses is what would be written', () => {
    const alphabet = fc.constantFrom(...'abYZ09-_.=ps+k t'.split(''));
    const mutated = fc
      .tuple(goodIds, fc.nat(), fc.string({ unit: alphabet, maxLength: 3 }), fc.nat(3))
      .map(([id, at, put, cut]) => {
        const { token } = mintSession(id, id, id);
        const place = at % token.length;
        return token.slice(0, place) + put + token.slice(place + cut);
      });
    const anything = fc.oneof(
      mutated,
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => `pstk.${b64(Buffer.from(bytes))}`),
      fc
        .array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 })
        .map((parts) => ['psts', ...parts.map((part) => b64(Buffer.from(part)))].join('.')),
    );
    fc.assert(
      fc.property(anything, (text) => {
        const said = parseToken(text);
        if (said === undefined) return;
        const names =
          said.kind === 'key'
            ? ['pstk', b64(said.tenant), b64(said.keyId)]
            : ['psts', b64(said.tenant), b64(said.user), b64(said.sessionId)];
        expect(text.startsWith(`${names.join('.')}.`)).toBe(true);
        expect(text.slice(names.join('.').length + 1)).toMatch(/^[\w-]{43}$/);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['another prefix', (t: string) => t.replace('pstk', 'PSTK')],
    ['no prefix', (t: string) => t.slice(5)],
    ['the prefix of a session', (t: string) => t.replace('pstk', 'psts')],
    ['a part more', (t: string) => t.replace('pstk.', 'pstk.YQ.')],
    ['an empty part', (t: string) => t.replace('pstk.', 'pstk..')],
    ['an empty tenant', (t: string) => t.replace(b64('acme'), '')],
    ['a dot at the end', (t: string) => `${t}.`],
    ['padding', (t: string) => t.replace(b64('acme'), `${b64('acme')}==`)],
    ['spare bits', (t: string) => t.replace(b64('acme'), 'YWNtZR')],
    ['an id that is not UTF-8', (t: string) => t.replace(b64('acme'), b64(Buffer.of(0xff)))],
    ['an overlong form', (t: string) => t.replace(b64('acme'), b64(Buffer.of(0xc1, 0x81)))],
    ['a surrogate', (t: string) => t.replace(b64('acme'), b64(Buffer.of(0xed, 0xa0, 0x80)))],
    ['an id with a blank', (t: string) => t.replace(b64('acme'), b64('acme '))],
    ['a byte order mark', (t: string) => t.replace(b64('acme'), b64('\uFEFFacme'))],
    ['a control character', (t: string) => t.replace(b64('acme'), b64('ac\0me'))],
    ['a decomposed id', (t: string) => t.replace(b64('acme'), b64('é'.normalize('NFD')))],
    ['an id that is too long', (t: string) => t.replace(b64('acme'), b64('x'.repeat(257)))],
    ['a short secret', (t: string) => t.slice(0, -1)],
    ['a long secret', (t: string) => `${t}A`],
    ['no secret', (t: string) => t.slice(0, t.lastIndexOf('.'))],
    ['a blank around it', (t: string) => ` ${t}`],
    ['standard base64', (t: string) => t.slice(0, -3).concat('+/A')],
  ])('is refused with %s', (_, change) => {
    const { token } = mintKey('acme', 'agent');
    expect(parseToken(token)).toBeDefined();
    expect(change(token)).not.toBe(token);
    expect(parseToken(change(token))).toBeUndefined();
  });
});

describe('a token of a session', () => {
  it('has so many parts, neither more nor fewer', () => {
    const { token } = mintSession('acme', 'alice', 's1');
    expect(parseToken(token)).toBeDefined();
    const [prefix, ...parts] = token.split('.');
    for (const changed of [
      parts.slice(1),
      ['YQ', ...parts],
      [...parts, parts[3]],
      parts.slice(0, 3),
    ])
      expect(parseToken([prefix, ...changed].join('.'))).toBeUndefined();
    expect(parseToken(token.replace('psts', 'pstk'))).toBeUndefined();
  });
});

describe('a new id', () => {
  it('is an id, and another one every time', () => {
    const many = new Set(Array.from({ length: 1_000 }, () => newId('key')));
    expect(many.size).toBe(1_000);
    for (const id of many) expect(id).toMatch(/^key-[0-9a-f]{16}$/);
  });
});

const keyOf = (fields: Partial<KeyRecord>): KeyRecord => key('agent', fields).value;
const userOf = (fields: Partial<UserRecord>): UserRecord => user('alice', fields).value;
const [right, other, third] = [
  mintKey('a', 'k').hash,
  mintKey('a', 'k').hash,
  mintKey('a', 'k').hash,
];

describe('a secret of a key', () => {
  it.each<[string, KeyRecord | undefined, boolean]>([
    ['that is there', keyOf({ secrets: [{ hash: right }] }), true],
    [
      'rotated in',
      keyOf({ secrets: [{ hash: other, expiresAt: NOW + 1 }, { hash: right }] }),
      true,
    ],
    [
      'in its overlap',
      keyOf({ secrets: [{ hash: right, expiresAt: NOW + 1 }, { hash: other }] }),
      true,
    ],
    [
      'after its overlap',
      keyOf({ secrets: [{ hash: right, expiresAt: NOW }, { hash: other }] }),
      false,
    ],
    ['of three', keyOf({ secrets: [other, third, right].map((hash) => ({ hash })) }), true],
    ['of an unknown key', undefined, false],
    ['of a key that has none', keyOf({}), false],
    ['of a key with an empty list', keyOf({ secrets: [] }), false],
    ['of another', keyOf({ secrets: [{ hash: other }] }), false],
    ['of a revoked key', keyOf({ secrets: [{ hash: right }], revoked: true }), false],
    [
      'of a key that expires later',
      keyOf({ secrets: [{ hash: right }], expiresAt: NOW + 1 }),
      true,
    ],
    ['of an expired key', keyOf({ secrets: [{ hash: right }], expiresAt: NOW }), false],
    ['kept cut', keyOf({ secrets: [{ hash: right.slice(0, 20) }] }), false],
    ['kept empty', keyOf({ secrets: [{ hash: '' }] }), false],
  ])('%s', (_, record, proven) => {
    expect(provesKey(record, right, NOW)).toBe(proven);
    // All refusals do the same work, a key that does not exist included.
    expect(compared.mock.calls.length).toBe(Math.max(2, record?.secrets?.length ?? 0));
    for (const [kept, given] of compared.mock.calls)
      expect([kept.byteLength, given.byteLength]).toEqual([32, 32]);
  });

  it('is nothing where no hash is given, whatever is kept', () => {
    for (const hash of ['', 'x', b64(Buffer.alloc(31))]) {
      expect(provesKey(keyOf({ secrets: [{ hash }] }), hash, NOW)).toBe(false);
      expect(provesKey(keyOf({}), hash, NOW)).toBe(false);
      expect(provesKey(undefined, hash, NOW)).toBe(false);
    }
    expect(provesKey(undefined, b64(Buffer.alloc(32)), NOW)).toBe(false);
  });

  it('needs a live key', () => {
    expect(keyIsLive(keyOf({}), NOW)).toBe(true);
    expect(keyIsLive(keyOf({ revoked: false, expiresAt: NOW + 1 }), NOW)).toBe(true);
    expect(keyIsLive(keyOf({ expiresAt: NOW }), NOW)).toBe(false);
    expect(keyIsLive(keyOf({ revoked: true, expiresAt: NOW + 1 }), NOW)).toBe(false);
    expect(keyIsLive(keyOf({ expiresAt: Number.NaN }), NOW)).toBe(false);
  });
});

describe('a secret of a session', () => {
  const row = (fields: Partial<SessionRow> = {}): SessionRow => ({
    id: 's1',
    hash: right,
    createdAt: NOW - 1,
    expiresAt: NOW + 1,
    ...fields,
  });

  it.each<[string, UserRecord | undefined, boolean]>([
    ['that is there', userOf({ sessions: [row({ id: 's0', hash: other }), row()] }), true],
    ['of an unknown user', undefined, false],
    ['of a user without sessions', userOf({}), false],
    ['of another session of the user', userOf({ sessions: [row({ id: 's2' })] }), false],
    ['of another', userOf({ sessions: [row({ hash: other })] }), false],
    ['that is over', userOf({ sessions: [row({ expiresAt: NOW })] }), false],
    ['of a deleted user', userOf({ sessions: [row()], deleted: true }), false],
    ['of a suspended user', userOf({ sessions: [row()], suspended: true }), false],
  ])('%s', (_, record, proven) => {
    expect(provesSession(record, 's1', right, NOW)).toBe(proven);
    expect(compared).toHaveBeenCalledTimes(1);
  });
});
