/** The files that come with Postern: valid, in step with their schemas, and linted as the guide says. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../../src/config/catalog.ts';
import { readSource } from '../../src/config/document.ts';
import { jsonSchema, kindOf, SCHEMAS, type FileKind } from '../../src/config/kinds.ts';
import { lintPolicySet } from '../../src/config/lint.ts';
import { parsePolicySet } from '../../src/config/policy-set.ts';
import { loadSettings } from '../../src/config/settings/load-settings.ts';
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import { lintState, parseState } from '../../src/config/state.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { problemsOf, source } from '../support/yaml.ts';
import { formatProblem } from '../../src/config/problem.ts';

const config = (name: string): string => join(PACKAGE_ROOT, 'config', name);
const catalog = parseCatalog(readSource(config('actions.yaml')));

describe('JSON Schemas', () => {
  it.each(Object.keys(SCHEMAS) as FileKind[])('%s is what the loader enforces', (kind) => {
    const written: unknown = JSON.parse(readFileSync(config(`schema/${kind}.schema.json`), 'utf8'));
    // `npm run gen` writes them.
    expect(written).toEqual(jsonSchema(kind));
  });

  it.each(['postern.yaml', 'actions.yaml', 'roles.yaml', 'demo.yaml'])(
    'an editor accepts config/%s',
    (name) => {
      const { value } = readSource(config(name));
      const kind = kindOf(value);
      if (kind === undefined) expect.fail('no kind');
      const ajv = new Ajv2020({ strict: false, allErrors: true });
      const accept = ajv.compile(jsonSchema(kind) as object);
      expect(accept(value), JSON.stringify(accept.errors)).toBe(true);
      expect(accept({ ...(value as object), nonsense: 1 })).toBe(false);
    },
  );

  it('every schema is named by the files that use it', () => {
    for (const name of readdirSync(config('.')).filter((file) => file.endsWith('.yaml')))
      expect(readFileSync(config(name), 'utf8')).toMatch(
        /^# yaml-language-server: \$schema=schema\/[a-z-]+\.schema\.json\n/,
      );
  });
});

describe('settings', () => {
  it('postern.yaml shows every option with its default', () => {
    const { value } = readSource(config('postern.yaml'));
    const defaults = settingsSchema.parse({});
    expect(value).toEqual(JSON.parse(JSON.stringify(defaults)));
  });

  it('resolves paths against the file, the environment against the working directory', () => {
    const { settings } = loadSettings(config('postern.yaml'), {}, PACKAGE_ROOT);
    expect(settings.catalog).toBe(config('actions.yaml'));
    expect(settings.store).toBe(`embedded:${join(PACKAGE_ROOT, 'data')}`);
    const overridden = loadSettings(
      undefined,
      {
        POSTERN_CONFIG: config('postern.yaml'),
        POSTERN_STORE: 'embedded:/var/lib/postern',
        POSTERN_GRPC_ADDRESS: 'unix:/run/postern.sock',
        POSTERN_HTTP_ADDRESS: '[::1]:9000',
      },
      PACKAGE_ROOT,
    ).settings;
    expect(overridden.store).toBe('embedded:/var/lib/postern');
    expect(overridden.grpc.address).toBe('unix:/run/postern.sock');
    expect(overridden.http.address).toBe('[::1]:9000');
  });

  it('is frozen', () => {
    const { settings } = loadSettings(config('postern.yaml'), {}, PACKAGE_ROOT);
    expect(Object.isFrozen(settings) && Object.isFrozen(settings.limits)).toBe(true);
  });

  it('refuses what is weak or unknown, and warns of a misspelt variable', () => {
    const load = (environment: Record<string, string>): string =>
      problemsOf(() => loadSettings(config('postern.yaml'), environment, PACKAGE_ROOT)).join();
    expect(load({ POSTERN_GRPC_ADDRESS: 'nonsense' })).toContain(
      'POSTERN_GRPC_ADDRESS: `nonsense`',
    );
    expect(load({ POSTERN_LOG_LEVEL: 'loud' })).toContain('POSTERN_LOG_LEVEL: `loud`');
    const { warnings } = loadSettings(
      config('postern.yaml'),
      { POSTERN_GRPC_ADRESS: 'x', POSTERN_SERVICE_HOST: '10.0.0.1' },
      PACKAGE_ROOT,
    );
    expect(warnings).toEqual([
      'unknown environment variable POSTERN_GRPC_ADRESS: did you mean `POSTERN_GRPC_ADDRESS`?',
    ]);
  });
});

describe('lint', () => {
  const lint = (rules: string): string[] => {
    const file = source(`policy_set:\n  name: s\n  mode: enforce\n  rules:\n${rules}`);
    return lintPolicySet(file, ['policy_set'], parsePolicySet(file, catalog), catalog).map(
      formatProblem,
    );
  };
  const allow = '    - { id: a, effect: allow, actions: [graph.search], attributes: { t: [x] } }\n';

  it('ABAC-5: a constrained allow beside an unconstrained one', () => {
    const [warning] = lint(`${allow}    - { id: wide, effect: allow, actions: [readonly] }`);
    expect(warning).toContain(
      'file.yaml:5:7: policy_set.rules[0]: warning: rule a restricts nothing for graph.search: rule s/wide allows it without attributes',
    );
  });

  it('ABAC-6: a constrained allow on an action that mutates, unless it is object scoped', () => {
    const rule = (action: string): string =>
      `    - { id: a, effect: allow, actions: [${action}], attributes: { t: [x] } }`;
    expect(lint(rule('graph.add')).join()).toContain('rule a never permits graph.add');
    expect(lint(rule('memory.update'))).toEqual([]);
  });

  it('a deny by attributes that a superset escapes', () => {
    const rule = '    - { id: d, effect: deny, actions: [graph.search], attributes: { t: [x] } }';
    expect(lint(rule).join()).toContain('an object with a further value escapes it');
  });

  it('a rule that can never decide, and one that says the same as another', () => {
    const deny = '    - { id: d, effect: deny, actions: [readonly] }\n';
    expect(lint(allow + deny).join()).toContain('rule a can never decide');
    expect(lint(allow + allow.replace('id: a', 'id: b')).join()).toContain(
      'rule b says what rule a says',
    );
  });

  it('default_allow nullifies a constrained allow, seen where the set is attached', () => {
    const text = `tenant: t
policy_sets:
  - { name: s, mode: enforce, rules: [{ id: a, effect: allow, actions: [readonly], attributes: { t: [x] } }] }
  - { name: w, mode: enforce, rules: [{ id: b, effect: allow, actions: [readonly] }] }
keys:
  - { id: k, role: default_allow, mode: enforce, policy_sets: [s] }
  - { id: m, role: default_deny, mode: enforce, policy_sets: [s, w] }
`;
    const file = source(text);
    const warnings = lintState(file, parseState(file, catalog), catalog).map(formatProblem);
    expect(warnings.join('\n')).toContain(
      'restricts nothing on key k: its base role default_allow',
    );
    expect(warnings.join('\n')).toContain('rule w/b allows it without attributes');
  });
});
