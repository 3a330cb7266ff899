/** What a record tells, and what it leaves out: inputs, the field policy, sampling, the chain, and ids of any kind. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CHAIN_START, chainHash, openChain, sealOf } from '../../src/audit/seals/chain.ts';
import {
  contentOf,
  eventOf,
  itemTexts,
  type DecisionContent,
  type FilteredObjects,
} from '../../src/audit/record/event.ts';
import {
  compileRedaction,
  type FieldRule,
  type RedactOptions,
} from '../../src/audit/record/redact.ts';
import {
  authenticationLine,
  managementLine,
  type ManagementContent,
} from '../../src/audit/record/management-record.ts';
import { compileSampling } from '../../src/audit/record/sampling.ts';
import type { Attributes, Resource } from '../../src/engine/model.ts';
import fc from '../support/fast-check.ts';
import { startTestServer } from '../support/server.ts';

const NOTHING_SET: RedactOptions = { attributes: false, rules: [], hashKey: Buffer.alloc(32, 7) };

function attributes(fields: Readonly<Record<string, readonly string[]>>): Attributes {
  return new Map(Object.entries(fields));
}

const RESOURCE: Resource = {
  type: 'memory',
  id: 'm1',
  path: 'work.a',
  attributes: attributes({ team: ['eng'], secret: ['s3cret'] }),
  sources: [attributes({ team: ['ops'], secret: ['s3cret'] })],
};

const CONTENT: DecisionContent = {
  request: {
    tenant: 'acme',
    subject: { type: 'user', id: 'alice' },
    keyId: 'k1',
    action: 'graph.search',
    resource: RESOURCE,
  },
  subject: { type: 'user', id: 'alice' },
  context: { ip: '10.0.0.1' },
  outcome: { reason: 'ALLOWED', actionRule: undefined, objectRule: undefined },
  shadow: {
    reason: 'ACTION_DENIED',
    actionRule: { set: 'trial', id: 'no-search' } as never,
    objectRule: undefined,
  },
  mode: 'report_only',
  objects: undefined,
  redact: undefined,
};

function recordOf(
  options: Partial<RedactOptions> = {},
  content: Partial<DecisionContent> = {},
): Record<string, unknown> {
  const redact = compileRedaction({ ...NOTHING_SET, ...options });
  const event = eventOf({
    decisionId: 'i-1',
    seq: 1,
    instance: 'i',
    time: '2026-01-01T00:00:00.000Z',
    requestId: redact?.requestId('r-1') ?? 'r-1',
    api: 'check',
    revision: 3,
    durationUs: 5,
    sampleRate: 1,
  });
  return JSON.parse(event + contentOf({ ...CONTENT, ...content, redact })) as Record<
    string,
    unknown
  >;
}

const oneObject = (): FilteredObjects => ({
  items: [RESOURCE],
  offset: 0,
  limit: 0,
  visible: [0],
  shadowHidden: 0,
  shadowShown: 0,
});

describe('objects of a Filter that are made before their record', () => {
  const PATHS = [
    'subject',
    'context',
    'resource',
    'resource.attributes',
    'resource.attributes.team',
    'resource.id',
    'objects',
    'objects.items',
    'objects.items.id',
    'objects.items.attributes',
    'objects.items.attributes.secret',
    'objects.items.sources.team',
    'objects.visible_indexes',
  ];
  const rules = fc.array(
    fc.record({
      path: fc.constantFrom(...PATHS).map((path) => path.split('.')),
      action: fc.constantFrom('include', 'drop', 'hash', 'mask'),
    }),
    { maxLength: 4 },
  );
  const BARE: Resource = { ...RESOURCE, attributes: new Map(), sources: [] };
  const items = fc.array(fc.constantFrom(RESOURCE, BARE, { ...BARE, id: '', type: '' }), {
    maxLength: 4,
  });

  it('are what the record would hold if it were made and redacted as a whole', () => {
    let compared = 0;
    fc.assert(
      fc.property(rules, fc.boolean(), items, fc.boolean(), (each, inputs, list, isFirstBad) => {
        const redact = compileRedaction({ ...NOTHING_SET, attributes: inputs, rules: each });
        const invalid = isFirstBad && list.length > 0 ? [0] : [];
        const objects: FilteredObjects = { ...oneObject(), items: list, visible: [], invalid };
        const whole = (made: FilteredObjects['made']): Record<string, unknown> => {
          const text = contentOf({ ...CONTENT, objects: { ...objects, made }, redact });
          const record = JSON.parse(`{${text.slice(1)}`) as Record<string, unknown>;
          const omitted = record['omitted'] as readonly string[] | undefined;
          return { ...record, omitted: omitted?.toSorted() };
        };
        const textFor = itemTexts(redact);
        if (textFor === undefined) return;
        const texts = list.map((item, at) => textFor(invalid.includes(at) ? undefined : item));
        const text = texts.flatMap((one) => one.text ?? []).join(',');
        compared++;
        expect(whole({ text, isAltered: texts.some(({ isAltered }) => isAltered) })).toEqual(
          whole(undefined),
        );
      }),
      { numRuns: 2_000 },
    );
    expect(compared).toBeGreaterThan(500);
  });
});

describe('inputs of a decision', () => {
  it('are left out by default, and the record says which', () => {
    const record = recordOf();
    expect(record['resource']).toEqual({ type: 'memory', id: 'm1', path: 'work.a' });
    expect(record['omitted']).toEqual(['resource.attributes', 'resource.sources', 'context']);
    expect(JSON.stringify(record)).not.toContain('s3cret');
  });

  it('stand in the record where that is wanted, whole', () => {
    const record = recordOf({ attributes: true });
    expect(record).toMatchObject({
      resource: {
        attributes: { team: ['eng'], secret: ['s3cret'] },
        sources: [{ team: ['ops'], secret: ['s3cret'] }],
      },
      context: { ip: '10.0.0.1' },
      shadow: { allowed: false, differs: true },
      shadow_policy: ['trial/no-search'],
      mode: 'report_only',
    });
    expect(record).not.toHaveProperty('omitted');
  });

  it('of a Filter are its objects, its page and what was visible', () => {
    const objects = {
      items: [RESOURCE, { ...RESOURCE, id: 'm2' }],
      offset: 1,
      limit: 5,
      visible: [1],
      shadowHidden: 0,
      shadowShown: 1,
    };
    expect(recordOf({}, { objects })['objects']).toEqual({
      total: 2,
      visible: 1,
      shadow_hidden: 0,
      shadow_shown: 1,
    });
    expect(recordOf({}, { objects })['omitted']).toContain('objects.items');
    expect(recordOf({ attributes: true }, { objects })['objects']).toMatchObject({
      offset: 1,
      limit: 5,
      visible_indexes: [1],
      items: [{ id: 'm1', sources: [{ team: ['ops'] }] }, { id: 'm2' }],
    });
  });

  it('that are not there are not told to be left out', () => {
    const bare = { ...RESOURCE, attributes: new Map(), sources: [] };
    const request = { ...CONTENT.request, resource: bare };
    expect(recordOf({}, { request, context: undefined })).not.toHaveProperty('omitted');
  });
});

describe('the field policy', () => {
  const rule = (path: string, action: FieldRule['action']): FieldRule => ({
    path: path.split('.'),
    action,
  });

  it('includes one attribute where all are off, of sources too', () => {
    const record = recordOf({ rules: [rule('resource.attributes.team', 'include')] });
    expect(record['resource']).toEqual({
      type: 'memory',
      id: 'm1',
      path: 'work.a',
      attributes: { team: ['eng'] },
      sources: [{ team: ['ops'] }],
    });
    expect(record['omitted']).toEqual(['resource.attributes', 'resource.sources', 'context']);
  });

  it('drops one attribute wherever its like stands: in sources and in the objects of a Filter', () => {
    const objects = oneObject();
    const rules = [rule('resource.attributes.secret', 'drop')];
    const record = recordOf({ attributes: true, rules }, { objects });
    expect(JSON.stringify(record)).not.toContain('s3cret');
    expect(record['omitted']).toEqual(['resource.attributes', 'resource.sources', 'objects.items']);
  });

  it('of a whole resource holds for the objects of a Filter, and of a detail for authentication', () => {
    const objects = oneObject();
    for (const action of ['drop', 'hash', 'mask'] as const) {
      const record = recordOf(
        { attributes: true, rules: [rule('resource', action)] },
        { objects, request: CONTENT.request },
      );
      expect(JSON.stringify(record)).not.toMatch(/m1|work\.a|s3cret/);
    }
    const redact = compileRedaction({ ...NOTHING_SET, rules: [rule('detail', 'drop')] });
    const event = { time: 't', instance: 'i', seq: 1, id: 'i-1' };
    expect(authenticationLine({ tenant: 't', why: 'key `k1`' }, event, redact)).not.toContain('k1');
  });

  it('hashes with a key, alike for alike; masks; and drops', () => {
    const rules = [
      rule('subject', 'hash'),
      rule('key_id', 'mask'),
      rule('request_id', 'drop'),
      rule('resource.id', 'hash'),
    ];
    const record = recordOf({ rules });
    expect(record['subject']).toMatch(/^hmac:[\w-]{43}$/);
    expect(record['key_id']).toBe('***');
    expect(record).not.toHaveProperty('request_id');
    expect(record['resource']).toMatchObject({ type: 'memory', path: 'work.a' });
    expect(recordOf({ rules })['subject']).toBe(record['subject']);
    expect(recordOf({ rules, hashKey: Buffer.alloc(32, 8) })['subject']).not.toBe(
      record['subject'],
    );
    expect(record['omitted']).toEqual(
      expect.arrayContaining(['subject', 'key_id', 'resource.id', 'context']),
    );
  });

  it('never tells what a rule keeps shut, whatever names and values come (ID-3)', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.array(fc.string({ minLength: 3 }), { minLength: 1 })),
        fc.constantFrom('drop' as const, 'hash' as const, 'mask' as const),
        (fields, action) => {
          const secret = 'never-to-be-told';
          const all = attributes({ ...fields, secret: [secret], __proto__x: ['1'] });
          const resource = { ...RESOURCE, attributes: all, sources: [all] };
          const record = recordOf(
            { attributes: true, rules: [rule('resource.attributes.secret', action)] },
            {
              request: { ...CONTENT.request, resource },
              objects: {
                items: [resource],
                offset: 0,
                limit: 0,
                visible: [],
                shadowHidden: 0,
                shadowShown: 0,
              },
            },
          );
          expect(JSON.stringify(record)).not.toContain(secret);
          expect((record['resource'] as { attributes: object }).attributes).toMatchObject(
            Object.fromEntries(
              Object.entries(fields).filter(([name]) => name !== 'secret' && name !== '__proto__'),
            ),
          );
        },
      ),
    );
  });
});

describe('sampling', () => {
  it('takes the first rule that fits, by action and call', () => {
    const sampling = compileSampling([
      { actions: ['health.*'], rate: 0.01 },
      { apis: ['ext_authz'], rate: 0.5 },
    ]);
    expect(sampling?.('check', 'health.read')).toBe(0.01);
    expect(sampling?.('ext_authz', 'kb.read')).toBe(0.5);
    expect(sampling?.('check', 'kb.read')).toBe(1);
    expect(compileSampling([])).toBeUndefined();
  });

  it('leaves allows out alone: denies and what full enforcement would deny are all there, numbers are dense', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-sampling-'));
    const path = join(directory, 'audit.jsonl');
    const server = await startTestServer(
      {
        tenant: 't',
        users: [{ id: 'alice', superuser: true }, { id: 'bob' }],
        policy_sets: [
          {
            policy_set: {
              name: 'trial',
              mode: 'report_only',
              rules: [{ id: 'never', effect: 'deny', actions: ['graph.search'] }],
            },
          },
        ],
        keys: [{ id: 'k', role: 'default_allow', mode: 'enforce', policy_sets: ['trial'] }],
      },
      { audit: { sinks: [{ type: 'file', path }], sampling: [{ rate: 0 }] } },
    );
    try {
      const ask = (request: object): Promise<unknown> =>
        server.client.call('Check', { tenant: 't', ...request });
      for (let n = 0; n < 20; n++) {
        await ask({ subject: { id: 'alice' }, action: 'read', resource: { path: 'a' } });
        await ask({ subject: { id: 'bob' }, action: 'read', resource: { path: 'a' } });
        await ask({ key_id: 'k', action: 'graph.search' });
      }
    } finally {
      await server.close();
    }
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    rmSync(directory, { recursive: true });
    const all = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, n) => n + 1));
    const records = all.filter(({ type }) => type !== 'seal');
    expect(records.length).toBe(40);
    expect(records.filter(({ allowed }) => allowed === false).length).toBe(20);
    expect(
      records.filter(({ shadow }) => (shadow as { differs?: boolean } | undefined)?.differs).length,
    ).toBe(20);
  });
});

describe('the chain of management records', () => {
  const content = (operation: string): ManagementContent => ({
    tenant: 't',
    actor: 'user:alice',
    via: 'session s1',
    keyId: undefined,
    operation,
    requestId: '',
    revision: 1,
    dryRun: false,
    repeated: false,
    refused: undefined,
    changes: [{ kind: 'user', id: 'bob', before: undefined, after: { id: 'bob', secrets: ['x'] } }],
  });
  const lines = (key: Buffer | undefined): readonly string[] => {
    const seal = openChain(key);
    return ['user.create', 'user.update', 'user.delete'].map((operation, index) =>
      seal(
        managementLine(
          content(operation),
          { time: 't', instance: 'i', seq: index + 1, id: `i-${index}` },
          undefined,
        ),
      ),
    );
  };

  it('binds each record to the one before it, by its very text', () => {
    let last = CHAIN_START;
    for (const line of lines(undefined)) {
      const seal = sealOf(line);
      expect(seal?.prevHash).toBe(last);
      expect(seal?.hash).toBe(chainHash(undefined, last, seal?.body ?? ''));
      expect(JSON.parse(seal?.body ?? '')).not.toHaveProperty('hash');
      expect(seal?.body).toMatch(/,"salt":"[\w-]{22}"}$/);
      expect(JSON.parse(line)).toMatchObject({ type: 'management', hash: seal?.hash });
      last = seal?.hash ?? '';
    }
  });

  it('with a key cannot be made without it', () => {
    const key = Buffer.alloc(32, 1);
    const [line = ''] = lines(key);
    const seal = sealOf(line);
    expect(seal?.hash).toBe(chainHash(key, CHAIN_START, seal?.body ?? ''));
    expect(seal?.hash).not.toBe(chainHash(undefined, CHAIN_START, seal?.body ?? ''));
  });

  it('tells no secret', () => {
    for (const line of lines(undefined)) expect(line).toContain('"secrets":1');
  });
});

describe('ids of any kind', () => {
  /** Nothing that a terminal acts on, and no end of a line. */
  // eslint-disable-next-line no-control-regex
  const ACTIVE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/;

  it('make one valid record each, which no terminal acts on', () => {
    const nasty = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        'a\nb',
        '\u001b[31mred\u001b[0m',
        '\u009b31m',
        '\ud800',
        '\udfff\ud800',
        '\u202egnp.exe',
        '\u2028',
        '"},"allowed":true,"x":{"',
        '\\u0022',
      ),
    );
    fc.assert(
      fc.property(nasty, nasty, (id, value) => {
        const resource = { ...RESOURCE, id, attributes: attributes({ [id]: [value] }) };
        const subject = { type: 'user', id: value } as const;
        const request = { ...CONTENT.request, action: id, keyId: value, resource };
        const content = { request, subject, context: { [id]: value } };
        const event = { decisionId: 'i-1', seq: 1, instance: 'i', time: '' };
        const line =
          eventOf({
            ...event,
            requestId: value,
            api: 'check',
            revision: 1,
            durationUs: 1,
            sampleRate: 1,
          }) + contentOf({ ...CONTENT, ...content, redact: undefined });
        expect(line).not.toMatch(ACTIVE);
        const record = JSON.parse(line) as { resource: { id?: string }; allowed: boolean };
        expect(record.allowed).toBe(true);
        // What was a lone surrogate stays one.
        expect(record.resource.id ?? '').toBe(id);
      }),
      { numRuns: 2_000 },
    );
  });

  it('of a megabyte are told whole', () => {
    const id = '\n"x"\u001b'.repeat(200_000);
    const request = { ...CONTENT.request, resource: { ...RESOURCE, id } };
    expect((recordOf({}, { request })['resource'] as { id: string }).id).toBe(id);
  });
});
