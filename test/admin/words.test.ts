/** Closed vocabularies: a word that is not of the list is told, and never falls into another one (ID-1, TREE-3). */
import { describe, expect, it } from 'vitest';
import { nameOf, parseName } from '../../src/admin/principals.ts';
import { unjustified } from '../../src/admin/tree/standing.ts';
import { factsWorld } from '../../src/admin/world.ts';
import { ALL_TREE_ACTIONS, TREE_BIT } from '../../src/engine/action.ts';
import { PRINCIPAL_TYPES, TREE_ACTIONS } from '../../src/engine/model.ts';
import { recordProblem } from '../../src/store/format/records.ts';
import { key, policySet, user } from '../support/records.ts';

describe('the name of a principal', () => {
  it.each(PRINCIPAL_TYPES)('%s: what was written is read again', (type) => {
    for (const id of ['alice', 'auth0:7', ':', 'user:alice'])
      expect(parseName(nameOf({ type, id }))).toEqual({ type, id });
  });

  it.each([
    'group:x',
    'team:alice',
    'alice',
    '',
    ':alice',
    'User:alice',
    'users:alice',
    'user',
    ' user:a',
  ])('`%s` names nobody, and no user', (name) => {
    expect(() => parseName(name)).toThrow(`\`${name}\` names no user, role, workspace`);
  });
});

describe('a grantor of a type that is not known', () => {
  /** bob is a superuser, whose grants always stand; carol holds a row. */
  const lostWith = (grantor: string): readonly (readonly string[])[] => {
    const users = [
      user('bob', { superuser: true }),
      user('carol', { grants: [{ path: 'a', actions: ['read'], grantor, grantOption: false }] }),
    ];
    const world = factsWorld('t', {
      tenant: new Map(),
      user: new Map(users.map(({ id, value }) => [id, value])),
      role: new Map(),
      workspace: new Map(),
      owner: new Map(),
      policy_set: new Map(),
      key: new Map(),
      tombstone: new Map(),
    });
    return unjustified(world).rows.map(([, lost]) => lost);
  };

  it.each(['team:bob', 'role:bob', 'bob', 'admin:bob'])('%s is not the user', (grantor) => {
    expect(lostWith(grantor)).toEqual([['read']]);
  });

  it('the user and the operator are who they are', () => {
    expect(lostWith('user:bob')).toEqual([]);
    expect(lostWith('')).toEqual([]);
  });
});

describe('records', () => {
  it.each([
    ['user', { ...user('a').value, type: 'robot' }, 'a'],
    ['key', { ...key('a').value, role: 'default_ask' }, 'a'],
    ['key', { ...key('a').value, mode: 'audit' }, 'a'],
    ['policy_set', { ...policySet('a', 'deny', []).value, mode: 'on' }, 'a'],
    [
      'policy_set',
      {
        ...policySet('a', 'deny', []).value,
        rules: [{ id: 'r', effect: 'ask', actions: ['x.y'] }],
      },
      'a',
    ],
    [
      'user',
      {
        ...user('a').value,
        grants: [{ path: '', actions: ['update'], grantor: '', grantOption: false }],
      },
      'a',
    ],
  ] as const)('%s %j has a word that nobody knows: it is told', (kind, record, id) => {
    expect(recordProblem('t', { kind, id }, record)).toContain('is none of');
  });

  it('each tree action has a bit of its own, in the order of the stored masks', () => {
    expect([...TREE_BIT]).toEqual([
      ['read', 1],
      ['write', 2],
      ['create', 4],
      ['delete', 8],
      ['admin', 16],
    ]);
    expect(TREE_ACTIONS.reduce((bits, action) => bits | (TREE_BIT.get(action) ?? 0), 0)).toBe(
      ALL_TREE_ACTIONS,
    );
  });
});
