/** The same case files through a real server over gRPC, with the audit records it wrote, and through the command line. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../../src/config/catalog.ts';
import { readSource } from '../../src/config/document.ts';
import {
  toRequest,
  toResource,
  type CheckTest,
  type FilterTest,
} from '../../src/config/policy-test.ts';
import { parseDefaultRoles } from '../../src/config/roles.ts';
import { loadSuite } from '../../src/offline/policy-tests.ts';
import { checkRequest, filterRequest, readMessage } from '../support/messages.ts';
import { postern } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { startTestServer } from '../support/server.ts';

const SERVICE = '/postern.v1.AuthorizationService';
const config = (name: string): string => join(PACKAGE_ROOT, 'config', name);
const catalog = parseCatalog(readSource(config('actions.yaml')));
const defaults = parseDefaultRoles(readSource(config('roles.yaml')));
const suites = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('_test.yaml'))
  .sort()
  .map((name) => loadSuite(readSource(join(import.meta.dirname, name)), catalog, defaults));

type Shown = Record<string, unknown>;

describe.each(suites)('$file.name', ({ file, state }) => {
  it('over gRPC, audit included, and on the command line', { timeout: 60_000 }, async () => {
    const server = await startTestServer(state, {
      catalog:
        file.catalog === undefined
          ? config('actions.yaml')
          : join(import.meta.dirname, file.catalog),
    });
    const ask = async (method: string, bytes: Buffer): Promise<Shown> =>
      readMessage(
        method === 'Filter'
          ? 'FilterResponse'
          : method === 'Explain'
            ? 'ExplainResponse'
            : 'CheckResponse',
        await server.client.raw(`${SERVICE}/${method}`, bytes),
      );
    const audits: (readonly [string, Shown])[] = [];
    const checks = file.tests.filter((test): test is CheckTest => 'request' in test);
    for (const { name, request: asked, expect: wanted } of checks) {
      const bytes = checkRequest(toRequest(asked, state.tenant, asked.resource), name);
      const answer = await ask('Check', bytes);
      expect(answer['allowed'], name).toBe(wanted.allowed);
      if (wanted.reason !== undefined)
        expect(answer['reason'], name).toBe(`REASON_${wanted.reason}`);
      if (wanted.shadow === 'none') expect(answer['shadow'], name).toBeNull();
      else if (wanted.shadow !== undefined) expect(answer['shadow'], name).toEqual(wanted.shadow);
      const explained = await ask('Explain', bytes);
      expect((explained['check'] as Shown)['reason'], name).toBe(answer['reason']);
      const missing = (explained['missing'] as Shown[]).map(({ text }) => text);
      for (const text of wanted.missing ?? []) expect(missing, name).toContain(text);
      if (wanted.audit !== undefined) audits.push([name, wanted.audit]);
    }
    for (const { name, filter, expect: wanted } of file.tests.filter(
      (test): test is FilterTest => 'filter' in test,
    )) {
      const { objects, limit = 0, offset = 0, ...caller } = filter;
      const request = toRequest(caller, state.tenant, undefined);
      const answer = await ask(
        'Filter',
        filterRequest(request, objects.map(toResource), { limit, offset }),
      );
      const { reason, ...fields } = wanted;
      expect(answer, name).toMatchObject(fields);
      if (reason !== undefined) expect(answer['reason'], name).toBe(`REASON_${reason}`);
    }

    for (const { request: asked, expect: wanted } of checks.filter(onCommandLine).slice(0, 2)) {
      const ran = await postern([
        '--tenant',
        asked.tenant ?? state.tenant,
        '--address',
        server.running.addresses.grpc,
        'check',
        asked.subject ?? '-',
        asked.action,
        ...(asked.resource?.path === undefined ? [] : [asked.resource.path]),
        ...(asked.resource?.type === undefined
          ? []
          : ['--resource', `${asked.resource.type}/${asked.resource.id ?? 'x'}`]),
        ...Object.entries(asked.resource?.attributes ?? {}).flatMap(([key, value]) => [
          '--attr',
          `${key}:=${JSON.stringify(value)}`,
        ]),
        ...(asked.key === undefined ? [] : ['--key', asked.key]),
      ]);
      expect(ran.code, ran.stdout + ran.stderr).toBe(wanted.allowed ? 0 : 1);
    }

    await server.running.close();
    const lines = readFileSync(join(server.directory, 'audit.jsonl'), 'utf8').trim().split('\n');
    const records = lines.map((line) => JSON.parse(line) as Shown);
    for (const [name, wanted] of audits)
      expect(
        records.find(({ api, request_id }) => api === 'check' && request_id === name),
        name,
      ).toMatchObject(wanted);
    await server.close();
  });
});

/** A shell argument holds no more than these: the rest is for the engine and gRPC. */
function onCommandLine({ request }: CheckTest): boolean {
  return request.resource?.sources === undefined && !(request.subject ?? '').startsWith('-');
}
