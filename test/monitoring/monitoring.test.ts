/** Rules and dashboard: Prometheus takes them, they do what their tests say, and they read what is exposed. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { scrape, type Exposition } from '../support/exposition.ts';
import { findPromtool } from '../support/promtool.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const PLACE = join(PACKAGE_ROOT, 'monitoring');
const file = (name: string): string => join(PLACE, name);
const text = (name: string): string => readFileSync(file(name), 'utf8');

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}
interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}
interface Target {
  readonly refId: string;
  readonly expr: string;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly Target[];
}
interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr?: string }[] };
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: string | { query: string } }[];
  };
}

const rulesOf = (name: string): readonly Rule[] =>
  (parse(text(name)) as Rules).groups.flatMap(({ rules }) => rules);
const RECORDING = rulesOf('prometheus/recording.yaml');
const ALERTS = rulesOf('prometheus/alerts.yaml');
const DASHBOARD = JSON.parse(text('grafana/postern.json')) as Dashboard;
const VARIABLES = DASHBOARD.templating.list;

/** All that the dashboard asks, with Grafana's own variables as Grafana would put them. */
const QUERIES = [
  ...DASHBOARD.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ refId, expr }) => ({ where: `${title} ${refId}`, expr })),
  ),
  ...DASHBOARD.annotations.list.flatMap(({ expr }) =>
    expr === undefined ? [] : [{ where: 'annotation', expr }],
  ),
].map(({ where, expr }) => ({
  where,
  expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(\w+)/g, (_whole, name: string) => {
    if (!VARIABLES.some((variable) => variable.name === name)) throw new Error(`no $${name}`);
    return '.*';
  }),
}));

const promtool = findPromtool();
let directory: string;
let server: TestServer;
let exposed: Exposition;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'postern-monitoring-'));
  server = await startTestServer({ tenant: 't' }, { admin: { enabled: true } });
  exposed = await scrape(server.running.addresses.http);
});
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  await server.close();
});

describe.skipIf(promtool === undefined)('Prometheus', () => {
  const run = (...args: readonly string[]): { readonly code: number; readonly output: string } =>
    promtool?.run(args) ?? { code: -1, output: '' };

  it('takes the rules', () => {
    const rules = ['alerts', 'recording'].map((name) => file(`prometheus/${name}.yaml`));
    const { code, output } = run('check', 'rules', '--lint=all', '--lint-fatal', ...rules);
    expect(output).toContain(`${ALERTS.length} rules found`);
    expect(code, output).toBe(0);
  });

  it('finds that they do what their tests say', () => {
    const { code, output } = run('test', 'rules', file('prometheus/tests.yaml'));
    expect(code, output).toBe(0);
  });

  it('finds out where they do not: a proof that the tests look', () => {
    const wrong = text('prometheus/alerts.yaml').replace(
      'postern_store_up == 0',
      'postern_store_up == 2',
    );
    writeFileSync(join(directory, 'alerts.yaml'), wrong);
    writeFileSync(join(directory, 'recording.yaml'), text('prometheus/recording.yaml'));
    const { tests, ...rest } = parse(text('prometheus/tests.yaml')) as {
      readonly tests: readonly { readonly name: string }[];
    };
    const own = tests.filter(({ name }) => name === 'PosternStoreDown');
    writeFileSync(join(directory, 'tests.yaml'), stringify({ ...rest, tests: own }));
    const { code, output } = run('test', 'rules', join(directory, 'tests.yaml'));
    expect(code).not.toBe(0);
    expect(output).toContain('PosternStoreDown');
  });

  it('understands every question of the dashboard', () => {
    const rules = QUERIES.map(({ expr }, n) => ({ record: `query:${n}`, expr }));
    const place = join(directory, 'dashboard.yaml');
    writeFileSync(place, stringify({ groups: [{ name: 'dashboard', rules }] }));
    const { code, output } = run('check', 'rules', '--lint=none', place);
    expect(code, output).toBe(0);
  });
});

describe('what rules and dashboard read', () => {
  /** Names of metrics in an expression: what is no function, no label and no keyword of PromQL. */
  const metricsIn = (expr: string): readonly string[] =>
    expr
      .replaceAll(/"[^"]*"/g, '""')
      .replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
      .replaceAll(/\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
      .match(/[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])/g)
      ?.filter((word) => word.includes('_') || word.includes(':') || word === 'up') ?? [];
  /** A label that is selected by, and its values as far as they are named. */
  const selectorsIn = (expr: string): readonly (readonly [string, string, string])[] =>
    [...expr.matchAll(/([a-z_]+)\{([^}]*)\}/g)].flatMap(([, metric = '', inner = '']) =>
      [...inner.matchAll(/([a-z_]+)\s*=~?\s*"([^"]*)"/g)].map(
        ([, label = '', value = '']) => [metric, label, value] as const,
      ),
    );
  /** What Prometheus adds to whatever it scrapes. */
  const ADDED = new Set(['job', 'instance', 'namespace']);

  const read = [
    ...[...RECORDING, ...ALERTS].map(({ alert, record, expr }) => ({
      where: alert ?? record ?? '',
      expr,
    })),
    ...QUERIES,
  ];

  it.each(read)('$where: all metrics are exposed or recorded', ({ expr }) => {
    const recorded = new Set(RECORDING.map(({ record }) => record));
    const names = metricsIn(expr);
    expect(names).not.toEqual([]);
    const missing = names.filter(
      (name) =>
        name !== 'up' &&
        !recorded.has(name) &&
        !exposed.has(name) &&
        exposed.get(name.replace(/_(bucket|sum|count)$/, ''))?.type !== 'histogram',
    );
    expect(missing).toEqual([]);
  });

  it.each(read)('$where: all labels and their values are ones that exist', ({ expr }) => {
    const missing = selectorsIn(expr).filter(([metric, label, value]) => {
      const family = exposed.get(metric) ?? exposed.get(metric.replace(/_bucket$/, ''));
      if (ADDED.has(label) || family === undefined) return false;
      const values = new Set(family.samples.map(({ labels }) => labels[label]));
      return !value.split('|').every((one) => values.has(one));
    });
    expect(missing).toEqual([]);
  });

  it('a proof that they were found', () => {
    expect(
      metricsIn('sum by (a_b, le) (rate(postern_x_bucket{c_d="e_f"}[5m])) > on (g_h) i_j:k'),
    ).toEqual(['postern_x_bucket', 'i_j:k']);
    expect(read.flatMap(({ expr }) => selectorsIn(expr)).length).toBeGreaterThan(100);
  });

  it('every metric of the contract is read by the dashboard', () => {
    const seen = new Set(
      QUERIES.flatMap(({ expr }) => metricsIn(expr)).map((name) => name.replace(/_bucket$/, '')),
    );
    const unseen = [...exposed.keys()].filter((name) => !seen.has(name));
    expect(unseen).toEqual([
      'process_start_time_seconds',
      'nodejs_heap_size_total_bytes',
      'nodejs_external_memory_bytes',
      'nodejs_eventloop_lag_mean_seconds',
    ]);
  });
});

describe('alerts', () => {
  const runbooks = readFileSync(join(PACKAGE_ROOT, 'docs/alerts.md'), 'utf8');
  const headings = [...runbooks.matchAll(/^## (.+)$/gm)].map(([, heading = '']) => heading);

  it.each(ALERTS)('$alert tells how bad it is, what it is, and where its runbook is', (rule) => {
    const { alert = '', labels = {}, annotations = {} } = rule;
    expect(['critical', 'warning', 'info']).toContain(labels['severity']);
    expect(annotations['summary']).not.toBe('');
    expect(annotations['description']).toMatch(/\.$/);
    expect(annotations['runbook_url']).toBe(`docs/alerts.md#${alert.toLowerCase()}`);
    expect(headings).toContain(alert);
    const { tests } = parse(text('prometheus/tests.yaml')) as {
      readonly tests: readonly {
        readonly alert_rule_test?: readonly {
          readonly alertname: string;
          readonly exp_alerts: readonly unknown[];
        }[];
      }[];
    };
    const cases = tests.flatMap((test) => test.alert_rule_test ?? []);
    const own = cases.filter(({ alertname }) => alertname === alert);
    expect(own.some(({ exp_alerts: expected }) => expected.length > 0)).toBe(true);
    expect(own.some(({ exp_alerts: expected }) => expected.length === 0)).toBe(true);
  });

  it('have no runbook of one that is gone', () => {
    expect(headings.toSorted()).toEqual(ALERTS.map(({ alert = '' }) => alert).toSorted());
  });
});

describe('the dashboard', () => {
  it('has panels with ids and places of their own', () => {
    const ids = DASHBOARD.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const cells = DASHBOARD.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, n) => `${x + (n % w)},${y + Math.floor(n / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(Math.max(...DASHBOARD.panels.map(({ gridPos: { x, w } }) => x + w))).toBe(24);
  });

  it('asks something in every panel, of the data source and the processes that are chosen', () => {
    expect(DASHBOARD.uid).toBe('postern');
    expect(VARIABLES.map(({ name }) => name)).toEqual([
      'datasource',
      'namespace',
      'job',
      'instance',
    ]);
    for (const { title, type, targets = [] } of DASHBOARD.panels.filter(
      ({ type: kind }) => kind !== 'row',
    )) {
      expect(['timeseries', 'stat'], title).toContain(type);
      expect(targets, title).not.toEqual([]);
      for (const { expr } of targets) expect(expr, title).toContain('instance=~"$instance"');
      expect(JSON.stringify(targets), title).toContain('${datasource}');
    }
  });
});
