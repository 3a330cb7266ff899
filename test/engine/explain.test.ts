/** What Explain says of the subject and the credential, word for word: golden answers, one a case. */
import { describe, expect, it } from 'vitest';
import { compileCatalog } from '../../src/engine/action.ts';
import { explain } from '../../src/engine/explain.ts';
import type { Explanation } from '../../src/engine/explanation.ts';
import type { Subject } from '../../src/engine/model.ts';
import type { Records, StateKind } from '../../src/engine/records.ts';
import { staticFacts } from '../../src/offline/static-facts.ts';
import { key, policySet, role, user } from '../support/records.ts';

const TEAM = role('team', [], {
  roles: ['reader'],
  closure: { roles: ['reader'], workspaces: ['w'] },
});
const READER = role('reader', ['doc:read']);

/** Records of one kind by their ids. */
const byId = <T>(...records: readonly { readonly id: string; readonly value: T }[]) =>
  new Map(records.map(({ id, value }) => [id, value]));

const RECORDS: { readonly [K in StateKind]: ReadonlyMap<string, Records[K]> } = {
  tenant: new Map(),
  owner: new Map(),
  tombstone: new Map(),
  user: byId(
    user('alice', { roles: ['team'] }),
    user('loner'),
    user('sue', { roles: ['reader'], suspended: true }),
    user('dan', { roles: ['reader'], deleted: true }),
    user('both', { suspended: true, deleted: true }),
    user('root', { superuser: true }),
  ),
  role: byId(TEAM, READER),
  workspace: new Map([['w', { id: 'w', grants: [] }]]),
  policy_set: byId(policySet('block', 'deny', ['doc:read'])),
  key: byId(
    key('open', { role: 'default_allow' }),
    key('shut', { mode: 'report_only' }),
    key('blocked', { role: 'default_allow', policySets: ['block'] }),
    key('hers', { role: 'default_allow', user: 'alice' }),
  ),
};

const facts = staticFacts(
  'acme',
  RECORDS,
  compileCatalog({
    actions: [
      { name: 'doc.purge', permission: 'doc:delete', min_level: 20 },
      { name: 'doc.ping', readonly: true },
      { name: 'box.open', permission: 'box:read', min_level: 10 },
    ],
    resource_types: { box: { access: { all: ['rbac', { any: ['tree', 'acl'] }] } } },
  }),
);

interface Question {
  readonly tenant?: string;
  readonly subject?: Subject;
  readonly key?: string;
  readonly action?: string;
  readonly type?: string;
}

function explained({
  tenant = 'acme',
  subject,
  key: keyId,
  action = 'doc:read',
  type = 'doc',
}: Question): Explanation {
  const who = { tenant, subject, keyId };
  const resource = { type, id: 'd', path: undefined, attributes: new Map(), sources: [] };
  return explain({ ...who, action, resource }, facts.resolve(who, 0), facts.directory);
}

/** Each layer as `name verdict: summary`. */
const layersOf = (question: Question): string[] =>
  explained(question).layers.map(({ name, verdict, summary }) => `${name} ${verdict}: ${summary}`);
const layerOf = (name: string, question: Question): string | undefined =>
  layersOf(question).find((text) => text.startsWith(`${name} `));
const userNamed = (id: string): Subject => ({ type: 'user', id });

describe('Explain on the subject', () => {
  it.each<readonly [string, Subject, string]>([
    ['a suspended user', userNamed('sue'), 'subject deny: user:sue is suspended'],
    ['a deleted user', userNamed('dan'), 'subject deny: user:dan is deleted'],
    ['one who is both', userNamed('both'), 'subject deny: user:both is deleted'],
    [
      'a stranger',
      userNamed('nobody'),
      'subject allow: user:nobody has no record: only access lists can name it',
    ],
    ['a user in no group', userNamed('loner'), 'subject allow: user:loner, in no group'],
    [
      'a user in groups, by way of others too',
      userNamed('alice'),
      'subject allow: user:alice, in team, reader, w',
    ],
    ['a role', { type: 'role', id: 'team' }, 'subject allow: role:team, in team, reader, w'],
    ['a role of no record', { type: 'role', id: 'gone' }, 'subject allow: role:gone, in no group'],
    ['a workspace', { type: 'workspace', id: 'w' }, 'subject allow: workspace:w, in w'],
  ])('tells %s', (_what, subject, text) => {
    expect(layerOf('subject', { subject })).toBe(text);
  });

  it.each(['sue', 'dan', 'both'])('ends at the subject for %s, who is not active', (id) => {
    const { decision, layers } = explained({ subject: userNamed(id) });
    expect(decision).toMatchObject({ allowed: false, reason: 'SUBJECT_INACTIVE' });
    expect(layers.at(-1)).toEqual({
      name: 'subject',
      verdict: 'deny',
      summary: `user:${id} is ${id === 'sue' ? 'suspended' : 'deleted'}`,
      facts: [],
    });
  });

  it('says what a suspended user lacks: to be active again, where that would allow', () => {
    expect(explained({ subject: userNamed('sue') }).missing).toEqual([
      { kind: 'active', text: 'user:sue being active again' },
    ]);
    expect(explained({ subject: userNamed('both') }).missing).toEqual([]);
  });

  it('tells a superuser by its name, and the role of a permission by its chain', () => {
    const access = explained({ subject: userNamed('root') }).layers.find(
      ({ name }) => name === 'access',
    );
    expect(access).toMatchObject({
      verdict: 'allow',
      summary: 'superuser: allowed',
      facts: [{ kind: 'superuser', text: 'root is a superuser' }],
    });
    const rbac = explained({ subject: userNamed('alice') }).layers.find(
      ({ name }) => name === 'rbac',
    );
    expect(rbac?.facts.map(({ chain }) => chain)).toEqual([
      ['user:alice', 'role:team', 'role:reader'],
    ]);
    const ofRole = explained({ subject: { type: 'role', id: 'team' } }).layers.find(
      ({ name }) => name === 'rbac',
    );
    expect(ofRole?.facts.map(({ chain }) => chain)).toEqual([['role:team', 'role:reader']]);
  });
});

describe('Explain on the credential', () => {
  it.each<readonly [string, Question, readonly string[]]>([
    ['of no key', { key: 'none' }, ['credential deny: none is not a key of this tenant']],
    [
      'of no key that may act for the subject',
      { key: 'hers', subject: userNamed('loner') },
      ['credential deny: hers is not a key of this tenant that may act for user:loner'],
    ],
    [
      'of an unknown tenant',
      { tenant: 'other', subject: userNamed('alice') },
      ['tenant deny: tenant other has no state here'],
    ],
    [
      'of a key in a mode',
      { key: 'shut' },
      [
        'credential allow: key shut: default_deny, report_only',
        'action allow: doc:read: readonly, permission doc:read, tree read, acl read',
        'abac_action deny: the action is denied',
        'abac_object deny: the object is hidden',
      ],
    ],
  ])('tells a request %s', (_what, question, layers) => {
    expect(layersOf(question)).toEqual(layers);
  });

  it('names the rule that denies, and the base role where none does', () => {
    const ruled = explained({ key: 'blocked' }).layers.find(({ name }) => name === 'abac_action');
    expect(ruled?.facts).toEqual([
      { kind: 'rule', text: 'block/rule (deny) matches doc:read', ref: 'rule block/rule' },
    ]);
    const open = explained({ key: 'open' }).layers.find(({ name }) => name === 'abac_action');
    expect(open).toEqual({
      name: 'abac_action',
      verdict: 'allow',
      summary: 'the action is permitted',
      facts: [{ kind: 'base_role', text: 'no rule decides: the base role is default_allow' }],
    });
  });
});

describe('Explain on the action and the level', () => {
  it.each<readonly [string, string]>([
    [
      'doc.purge',
      'doc.purge: mutating, permission doc:delete, tree none, acl none, level 20 or more',
    ],
    ['doc.ping', 'doc.ping: readonly, no permission, tree none, acl none'],
    ['doc:read', 'doc:read: readonly, permission doc:read, tree read, acl read'],
  ])('tells what %s asks for', (action, text) => {
    expect(layerOf('action', { subject: userNamed('alice'), action })).toBe(
      `action allow: ${text}`,
    );
  });

  it('tells an action that the catalog does not have', () => {
    expect(layersOf({ subject: userNamed('alice'), action: 'doc.nothing' })).toEqual([
      'action deny: doc.nothing is not in the action catalog',
    ]);
  });

  it.each<readonly [string, string, string, string]>([
    ['alice', 'doc.purge', 'deny', 'level 20 is required, the highest here is 10 (role team)'],
    ['alice', 'box.open', 'allow', 'level 10 is required, the highest here is 10 (role team)'],
    ['loner', 'box.open', 'deny', 'level 10 is required, no role is in the closure'],
    ['root', 'doc.purge', 'allow', 'level 20 is required, but not of a superuser'],
  ])('tells the level of %s for %s', (id, action, verdict, text) => {
    expect(layerOf('min_level', { subject: userNamed(id), action })).toBe(
      `min_level ${verdict}: ${text}`,
    );
  });

  it('tells how the models are joined', () => {
    expect(layerOf('access', { subject: userNamed('alice') })).toBe(
      'access allow: rule: any of (rbac, tree, acl)',
    );
    expect(layerOf('access', { subject: userNamed('loner') })).toBe(
      'access deny: rule: any of (rbac, tree, acl)',
    );
    expect(layerOf('access', { subject: userNamed('alice'), action: 'doc.purge' })).toBe(
      'access silent: rule: any of (rbac, tree, acl), not asked below the level',
    );
    expect(
      layerOf('access', { subject: userNamed('alice'), action: 'box.open', type: 'box' }),
    ).toBe('access deny: rule: all of (rbac, any of (tree, acl))');
  });
});
