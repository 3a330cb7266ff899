/** Variables of the environment: empty ones, unknown ones, and those of others that have no effect. */
import { describe, expect, it } from 'vitest';
import { jsonSchema } from '../../src/config/kinds.ts';
import { loadSettings } from '../../src/config/settings/load-settings.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '../support/temporary.ts';

function load(environment: Readonly<Record<string, string>>, settings: object = {}) {
  const file = join(temporaryDirectory(), 'postern.yaml');
  writeFileSync(file, JSON.stringify(settings));
  return loadSettings(file, environment, PACKAGE_ROOT);
}

describe('variables of Postern', () => {
  it.each([
    'POSTERN_CONFIG',
    'POSTERN_GRPC_ADDRESS',
    'POSTERN_HTTP_ADDRESS',
    'POSTERN_STORE',
    'POSTERN_LOG_LEVEL',
    'POSTERN_ADMIN_TOKEN',
    'POSTERN_UNKNOWN',
  ])('%s that is empty is as if unset', (name) => {
    const { settings, adminToken, warnings } = load({ [name]: '' });
    expect([settings.grpc.address, settings.log.level, adminToken, warnings]).toEqual([
      '127.0.0.1:4700',
      'info',
      undefined,
      [],
    ]);
    expect(settings.store).toMatch(/^embedded:/);
  });

  it.each([
    ['POSTERN_GRPC_ADRESS', 'did you mean `POSTERN_GRPC_ADDRESS`?'],
    ['POSTERN_SOMETHING_ELSE', 'unknown environment variable POSTERN_SOMETHING_ELSE'],
  ])('%s is told', (name, told) => {
    expect(load({ [name]: 'x' }).warnings.join()).toContain(told);
  });

  it('those that Kubernetes makes of a service are none of them', () => {
    const names = [
      'POSTERN_PORT',
      'POSTERN_PORT_4700_TCP_ADDR',
      'POSTERN_SERVICE_HOST',
      'POSTERN_SERVICE_PORT_GRPC',
      'POSTERN_REDIS_SERVICE_HOST',
    ];
    expect(load(Object.fromEntries(names.map((name) => [name, 'x']))).warnings).toEqual([]);
  });

  it.each([
    ['POSTERN_LOG_LEVEL', 'loud', 'is none of debug, info, warn, error, silent'],
    ['POSTERN_GRPC_ADDRESS', '4700', 'has no port: write '],
    ['POSTERN_HTTP_ADDRESS', 'http://x:1', 'begins with http://: write host:port'],
  ])('%s=%s says what is allowed', (name, value, allowed) => {
    expect(() => load({ [name]: value })).toThrow(`${name}: \`${value}\` ${allowed}`);
  });
});

describe('variables of others', () => {
  const tracing = { tracing: { enabled: true } };
  const jwt = {
    issuer: 'a',
    audience: 'b',
    algorithms: ['ES256'],
    tenant: 't',
    jwks_url: 'https://issuer.example/',
  };
  it.each([
    [{ OTEL_SERVICE_NAME: 'x' }, {}, 'traces are off: set `tracing.enabled`'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'x' }, tracing, 'set `tracing.endpoint`'],
    [{ OTEL_TRACES_SAMPLER_ARG: '1' }, tracing, 'OTEL_TRACES_SAMPLER_ARG: without effect'],
    [{ HTTPS_PROXY: 'http://proxy' }, tracing, 'set NODE_USE_ENV_PROXY=1'],
    [{ http_proxy: 'http://proxy' }, { identity: { jwt: [jwt] } }, 'set NODE_USE_ENV_PROXY=1'],
    [
      { HTTP_PROXY: 'http://proxy' },
      { audit: { sinks: [{ type: 'http', url: 'https://c.example/' }] } },
      'set NODE_USE_ENV_PROXY=1',
    ],
  ])('%o with %o is told', (environment, settings, told) => {
    expect(load(environment, settings).warnings.join()).toContain(told);
  });

  it.each([
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'a=b' }, tracing],
    [{ OTEL_SERVICE_NAME: '' }, {}],
    [{ HTTPS_PROXY: 'http://proxy' }, {}],
    [{ HTTPS_PROXY: 'http://proxy', NODE_USE_ENV_PROXY: '1' }, tracing],
  ])('%o with %o is not', (environment, settings) => {
    expect(load(environment, settings).warnings).toEqual([]);
  });
});

describe('times', () => {
  /** Each number of the schema whose name says that it is a time. */
  function timesOf(schema: unknown, path = ''): (readonly [string, Record<string, unknown>])[] {
    if (typeof schema !== 'object' || schema === null) return [];
    return Object.entries(schema).flatMap(([name, value]: [string, unknown]) => {
      const here = `${path}.${name}`;
      const isTime = /_(ms|seconds)$/.test(name) && typeof value === 'object' && value !== null;
      return isTime ? [[here, { ...value }] as const] : timesOf(value, here);
    });
  }

  it('all have a maximum that a timer can take, which the schema says', () => {
    const times = timesOf(jsonSchema('postern'));
    expect(times.length).toBeGreaterThan(20);
    for (const [name, { maximum }] of times) {
      expect(maximum, name).toBeTypeOf('number');
      expect(Number(maximum), name).toBeLessThan(2_147_483_647);
    }
  });

  it('and sizes and counts, too: every number has a maximum that says something', () => {
    const numbersOf = (schema: unknown, path = ''): (readonly [string, number])[] => {
      if (typeof schema !== 'object' || schema === null) return [];
      const { type, maximum } = schema as { readonly type?: unknown; readonly maximum?: unknown };
      const own = type === 'integer' || type === 'number' ? [[path, Number(maximum)] as const] : [];
      const inner = Object.entries(schema).flatMap(([name, value]) =>
        numbersOf(value, `${path}.${name}`),
      );
      return [...own, ...inner];
    };
    const numbers = numbersOf(jsonSchema('postern'));
    expect(numbers.length).toBeGreaterThan(60);
    // What a double holds exactly is the bound of the type, not one of ours.
    const unbounded = numbers.filter(([, most]) => !(most < Number.MAX_SAFE_INTEGER / 2));
    expect(unbounded).toEqual([]);
    for (const name of ['rotate_hours', 'keep_days', 'max_age_hours'])
      for (const [path, most] of numbers.filter(([path]) => path.endsWith(name)))
        // As ms it is exact.
        expect(most * 86_400_000, path).toBeLessThan(Number.MAX_SAFE_INTEGER);
  });

  it.each([
    { grpc: { max_connection_age_ms: 2_147_483_648 } },
    { shutdown: { grace_ms: 3_000_000_000 } },
    { facts: { store_timeout_ms: 2_147_483_648 } },
    { limits: { max_wait_ms: 2_147_483_648 } },
  ])('%o is refused by its limit', (settings) => {
    expect(() => load({}, settings)).toThrow('is too large: at most 1000000000');
  });

  it.each([
    ['rotate_hours', 9e15],
    ['keep_days', 36_501],
    ['keep_files', 9e15],
    ['buffer_bytes', 9e15],
  ])('a file sink with %s: %s is refused by its limit', (name, value) => {
    const sinks = [{ type: 'file', path: 'a.jsonl', [name]: value }];
    expect(() => load({}, { audit: { sinks } })).toThrow(new RegExp(`${name}.*is too large`));
  });
});
