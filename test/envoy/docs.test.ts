/** The commands of docs/envoy.md, "Try it", as a reader runs them: Postern, a service, Envoy, and each status by curl. */
import { spawn } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePort } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { tied } from '../support/tied.ts';
import { hasEnvoy } from './support.ts';

const TEXT = readFileSync(join(PACKAGE_ROOT, 'docs/envoy.md'), 'utf8');
const SECTION = /^## Try it\n([^]*?)^## /m.exec(TEXT)?.[1] ?? '';

function blocks(language: string): readonly string[] {
  return [...SECTION.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(
    ([, body = '']) => body,
  );
}

/** A clone with the files of the page; ports of its own, so that nothing of this machine is in the way. */
async function clone(): Promise<{ directory: string; ported: (text: string) => string }> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-envoy-docs-'));
  for (const name of ['config', 'docs', 'dist', 'proto', 'scripts', 'package.json'])
    cpSync(join(PACKAGE_ROOT, name), join(directory, name), { recursive: true });
  symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(directory, 'node_modules'));
  const ports = new Map<string, string>();
  for (const port of ['10000', '9901', '8080']) ports.set(port, String(await freePort()));
  const ported = (text: string): string =>
    [...ports].reduce((done, [from, to]) => done.replaceAll(from, to), text);
  for (const body of blocks('yaml')) {
    const at = join(directory, /^# file: (\S+)$/m.exec(body)?.[1] ?? 'unnamed');
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, body);
  }
  const example = join(directory, 'docs/examples/envoy/sidecar-unix-socket.yaml');
  writeFileSync(example, ported(readFileSync(example, 'utf8')));
  return { directory, ported };
}

function run(script: string, directory: string): Promise<string> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('POSTERN_'));
  const bin = join(PACKAGE_ROOT, 'node_modules/.bin');
  const child = tied(
    spawn('bash', ['-c', script], {
      cwd: directory,
      env: {
        ...Object.fromEntries(own),
        PATH: `${bin}:${process.env['PATH'] ?? ''}`,
        POSTERN_HTTP_ADDRESS: '127.0.0.1:0',
        POSTERN_ENVOY_CACHE: join(PACKAGE_ROOT, 'node_modules/.cache/envoy'),
      },
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((done) => child.on('close', () => done(output)));
}

describe.skipIf(!hasEnvoy())('docs/envoy.md', () => {
  it('gives each status that it says', async () => {
    const [start = '', ask = ''] = blocks('sh');
    const wanted = [...ask.matchAll(/^ask .*# (\d{3}): /gm)].map(([, status]) => status);
    expect(wanted).toEqual(['200', '401', '200', '404', '403', '403', '400', '503']);
    const { directory, ported } = await clone();
    try {
      const script = ported(
        `${start}\nfor i in $(seq 200); do [ "$(curl -s -o /dev/null -w '%{http_code}' localhost:10000/healthz)" = 200 ] && break; sleep 0.1; done\n${ask}`,
      )
        .replaceAll('npx postern', 'node dist/postern.js')
        .replaceAll('npx node', 'node');
      expect((await run(script, directory)).trim().split('\n')).toEqual(wanted);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }, 120_000);
});
