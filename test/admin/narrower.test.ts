/** What counts as a restriction of a key, against the engine itself (ADM-1b). */
import { describe, expect, it } from 'vitest';
import { widening, type Posture } from '../../src/admin/rules/narrower.ts';
import { compileKey } from '../../src/engine/abac.ts';
import { compileCatalog } from '../../src/engine/action.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Attributes, Scalar } from '../../src/engine/model.ts';
import type { KeyRecord, PolicySetRecord, RuleRecord } from '../../src/engine/records.ts';
import fc from '../support/fast-check.ts';

const ACTIONS = ['a.read', 'a.write', 'a.move', 'b:read', 'b:write', 'readonly', 'read'];
const CATALOGS = [true, false].flatMap((readonly) =>
  [true, false].map((object_scoped) =>
    compileCatalog({
      actions: [
        { name: 'a.read', readonly },
        { name: 'a.write', readonly: !readonly, object_scoped },
        { name: 'a.move', readonly, object_scoped },
        { name: 'c.other', readonly },
      ],
    }),
  ),
);
const VALUES: readonly Scalar[] = [1, '1', true, 'x'];

const attributes = fc.dictionary(
  fc.constantFrom('k', 'l'),
  fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 2 }),
  { minKeys: 1, maxKeys: 2 },
);
const rule: fc.Arbitrary<Omit<RuleRecord, 'id'>> = fc.record({
  effect: fc.constantFrom('allow' as const, 'deny' as const),
  actions: fc.uniqueArray(fc.constantFrom(...ACTIONS), { minLength: 1, maxLength: 2 }),
  attributes: fc.option(attributes.map(Object.entries<Scalar[]>), { nil: undefined, freq: 2 }),
}) as fc.Arbitrary<Omit<RuleRecord, 'id'>>;
const mode = fc.constantFrom(
  'off' as const,
  'report_only' as const,
  'enforce' as const,
  'enforce' as const,
);
const set: fc.Arbitrary<PolicySetRecord> = fc.record({
  name: fc.constantFrom('p', 'q'),
  version: fc.constant(1),
  mode,
  rules: fc
    .array(rule, { maxLength: 4 })
    .map((rules) => rules.map((one, id) => ({ ...one, id: `r${id}` }))),
});
const posture: fc.Arbitrary<Posture> = fc
  .record({
    role: fc.constantFrom('default_allow' as const, 'default_deny' as const),
    mode,
    sets: fc.array(set, { maxLength: 2 }),
  })
  .map(({ sets, ...rest }) => ({
    key: { id: 'k', policySets: sets.map(({ name }) => name), ...rest },
    sets,
  }));
/** Postures that differ in little are those that may be narrower. */
const pair = fc
  .tuple(posture, posture, fc.nat(5))
  .map(([one, other, how]): readonly [Posture, Posture] => {
    const rules = one.sets.flatMap((old, index) =>
      old === undefined
        ? []
        : [
            {
              ...old,
              rules: [...old.rules.slice(how % 2), ...(other.sets[index]?.rules ?? []).slice(0, 1)],
            },
          ],
    );
    if (how === 0) return [one, other];
    if (how === 1) return [one, { ...one, key: { ...one.key, role: other.key.role } }];
    if (how === 2) return [one, { ...one, key: { ...one.key, mode: other.key.mode } }];
    if (how === 3) return [one, { ...one, sets: [...one.sets, ...other.sets] }];
    return [one, { ...one, sets: rules }];
  });
const object: fc.Arbitrary<Attributes> = fc
  .dictionary(fc.constantFrom('k', 'l'), fc.array(fc.constantFrom(...VALUES), { maxLength: 2 }))
  .map((map) => new Map(Object.entries(map)));

const KEY: KeyRecord = { id: 'k', role: 'default_allow', mode: 'enforce', policySets: [] };
const of = (fields: Partial<KeyRecord>, sets: Posture['sets'] = []): Posture => ({
  key: { ...KEY, policySets: sets.map((_set, index) => `p${index}`), ...fields },
  sets,
});

describe('what restricts a key', () => {
  it('ADM-1b: a restriction allows nothing that was not allowed before, under any catalog', () => {
    let narrower = 0;
    fc.assert(
      fc.property(
        pair,
        fc.array(object, { minLength: 3, maxLength: 6 }),
        ([before, after], objects) => {
          if (widening(before, after) !== undefined) return;
          narrower++;
          for (const catalog of CATALOGS)
            for (const action of [...ACTIONS, 'c.other', 'z:read', 'z:write'])
              for (const given of objects) {
                const allowed = [before, after].map(({ key, sets }) => {
                  const there = sets.filter((one) => one !== undefined);
                  const resource = {
                    type: '',
                    id: '',
                    path: undefined,
                    attributes: given,
                    sources: [],
                  };
                  const request = { tenant: 't', subject: undefined, keyId: 'k', action, resource };
                  const facts = {
                    catalog,
                    tenantExists: true,
                    subject: undefined,
                    key: compileKey(key, there),
                  };
                  return decide(request, facts).allowed;
                });
                expect(allowed, `${action} ${JSON.stringify([...given])}`).not.toEqual([
                  false,
                  true,
                ]);
              }
        },
      ),
      { numRuns: 1_500 },
    );
    // The rule must not answer "wider" to everything.
    expect(narrower).toBeGreaterThan(250);
  });

  it('ADM-1b: ends, limits, secrets, users and what is revoked count too', () => {
    const secret = { hash: 'h' };
    expect(widening(of({}), of({ expiresAt: 5 }))).toBeUndefined();
    expect(widening(of({ expiresAt: 5 }), of({ expiresAt: 6 }))).toMatch(/ends later/);
    expect(widening(of({ expiresAt: 5 }), of({}))).toMatch(/ends later/);
    expect(widening(of({ revoked: true }), of({}))).toMatch(/revoked/);
    expect(widening(of({}), of({ revoked: true, role: 'default_allow' }))).toBeUndefined();
    expect(widening(of({ user: 'a' }), of({ user: 'b' }))).toMatch(/another user/);
    expect(widening(of({}), of({ user: 'b' }))).toMatch(/another user/);
    expect(widening(of({}), of({ secrets: [secret] }))).toMatch(/secret/);
    expect(
      widening(of({ secrets: [{ ...secret, expiresAt: 5 }] }), of({ secrets: [secret] })),
    ).toMatch(/secret/);
    expect(widening(of({ secrets: [secret] }), of({ secrets: [] }))).toBeUndefined();
  });

  it('POL-5: a set that is lost lets the key do nothing, so that what replaces it widens', () => {
    const deny: PolicySetRecord = {
      name: 'p0',
      version: 1,
      mode: 'enforce',
      rules: [{ id: 'r', effect: 'deny', actions: ['a.write'] }],
    };
    expect(widening(of({}, [undefined]), of({}, [deny]))).toMatch(/rules/);
    expect(widening(of({}, [undefined]), of({}, []))).toMatch(/rules/);
    expect(widening(of({}, [deny]), of({}, [undefined]))).toBeUndefined();
  });

  it('ADM-1b: of ten thousand rules it says in time whether they restrict', () => {
    const rules = (count: number): RuleRecord[] =>
      Array.from({ length: count }, (_, index) => ({
        id: `r${index}`,
        effect: 'deny' as const,
        actions: ['readonly'],
        attributes: [['k', [index]]] as const,
      }));
    const big = (count: number): PolicySetRecord => ({
      name: 'p0',
      version: 1,
      mode: 'enforce',
      rules: rules(count),
    });
    const started = performance.now();
    expect(widening(of({}, [big(10_000)]), of({}, [big(10_001)]))).toBeUndefined();
    expect(widening(of({}, [big(10_001)]), of({}, [big(10_000)]))).toMatch(/rules/);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
