/**
 * The documentation as a reader runs it. Every `console` block of README.md and docs/*.md holds `$ command` lines
 * (`> ` continues one), each followed by its output: `…` stands for anything within a line, a line of `…` alone
 * for any lines, `[exit 1]` for the exit code. A command that ends in ` &` goes on until its document ends, and
 * `$!` names it. A YAML block that begins with `# file: NAME` is written where the commands run. A page that begins with
 * `<!-- continues: OTHER.md -->` runs after that page, in the same directory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const DOCUMENTS = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => `docs/${name}`),
];
/** What the demo server of a reader listens on; here it has free ports. */
const PORTS = { grpc: '127.0.0.1:4700', http: '127.0.0.1:4701' };
const READY_MS = 20_000;

interface Step {
  readonly line: number;
  readonly command: string;
  readonly expected: readonly string[];
  readonly exit: number;
}
interface Written {
  readonly file: string;
  readonly text: string;
}
interface Page {
  readonly name: string;
  readonly text: string;
  readonly parts: readonly (Step | Written)[];
}
interface Fence {
  readonly line: number;
  readonly language: string;
  readonly body: readonly string[];
}

const documents: readonly Page[] = DOCUMENTS.map((name) => {
  const text = readFileSync(join(ROOT, name), 'utf8');
  return { name, text, parts: fencesOf(text).flatMap(partsOf) };
});
const runnable = documents
  .filter(({ parts, text }) => continued(text) === undefined && parts.some(isCommand))
  .map((document) => ({ ...document, pages: [document, ...continuations(document.name)] }));

it.each(documents)('$name names what exists', ({ name, text }) => {
  expect(lostLinks(name, text)).toEqual([]);
});

it.concurrent.each(runnable)(
  '$name is as it runs',
  async ({ pages }) => {
    const { wanted, got } = await runDocument(pages);
    expect(got).toBe(wanted);
  },
  300_000,
);

it('runs every page with commands once', () => {
  const run = runnable.flatMap(({ pages }) => pages.map(({ name }) => name));
  const withCommands = documents.filter(({ parts }) => parts.some(isCommand));
  expect(run).toEqual([...new Set(run)]);
  expect(run).toEqual(expect.arrayContaining(withCommands.map(({ name }) => name)));
  expect(run).toContain('docs/quickstart.md');
});

// ── pages ───────────────────────────────────────────────────────────────────────────────────────

function isCommand(part: Step | Written): part is Step {
  return 'command' in part;
}

/** Name of the page that this one continues. */
function continued(text: string): string | undefined {
  const page = /^<!-- continues: (\S+) -->$/m.exec(text)?.[1];
  return page === undefined ? undefined : `docs/${page}`;
}

/** All pages that continue a page, directly or through others, in the order in which they run. */
function continuations(name: string): Page[] {
  return documents
    .filter(({ text }) => continued(text) === name)
    .flatMap((page) => [page, ...continuations(page.name)]);
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────

function fencesOf(text: string): Fence[] {
  const fences: Fence[] = [];
  let open: { line: number; language: string; body: string[] } | undefined;
  for (const [index, line] of text.split('\n').entries())
    if (open === undefined) {
      const language = /^```(\S*)/.exec(line)?.[1];
      if (language !== undefined) open = { line: index + 1, language, body: [] };
    } else if (line === '```') {
      fences.push(open);
      open = undefined;
    } else open.body.push(line);
  return fences;
}

function partsOf({ line, language, body }: Fence): (Step | Written)[] {
  const file = language === 'yaml' ? /^# file: (\S+)$/.exec(body[0] ?? '')?.[1] : undefined;
  if (file !== undefined) return [{ file, text: `${body.join('\n')}\n` }];
  return language === 'console' ? stepsOf(line, body) : [];
}

function stepsOf(first: number, body: readonly string[]): Step[] {
  const steps: { line: number; command: string; expected: string[]; exit: number }[] = [];
  for (const [index, line] of body.entries()) {
    const step = steps.at(-1);
    if (line.startsWith('$ '))
      steps.push({ line: first + index + 1, command: line.slice(2), expected: [], exit: 0 });
    else if (step === undefined) throw new Error(`line ${first + index + 1}: output of no command`);
    else if (line.startsWith('> ') && step.expected.length === 0)
      step.command += `\n${line.slice(2)}`;
    else if (/^\[exit \d+\]$/.test(line)) step.exit = Number(line.slice(6, -1));
    else step.expected.push(line);
  }
  return steps;
}

/** Links to files or headings that are not there, and test files that are named and gone. */
function lostLinks(document: string, text: string): string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
  const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [file = '', anchor] = target.split('#');
      const path = file === '' ? join(ROOT, document) : join(ROOT, dirname(document), file);
      if (!existsSync(path)) return true;
      return anchor !== undefined && !anchorsOf(readFileSync(path, 'utf8')).includes(anchor);
    });
  const tests = [...prose.matchAll(/`(test\/[^`\s]+)`/g)]
    .map(([, file = '']) => file)
    .filter((file) => !existsSync(join(ROOT, file)));
  return [...links, ...tests];
}

function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

// ── running ─────────────────────────────────────────────────────────────────────────────────────

/** What a reader has after `npm ci`, with a store of its own. Written files stay in it. */
function clone(): string {
  const directory = mkdtempSync(join(tmpdir(), 'postern-docs-'));
  for (const name of ['config', 'docs', 'dist', 'proto', 'package.json', 'test/cases'])
    cpSync(join(ROOT, name), join(directory, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  return directory;
}

interface Running {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

/** What a document says and what was seen, command by command; alike where the output is as it says. */
interface Transcript {
  readonly wanted: string;
  readonly got: string;
}

async function runDocument(pages: readonly Page[]): Promise<Transcript> {
  const transcripts: Transcript[] = [];
  const directory = clone();
  const background: Running[] = [];
  try {
    const demo = start('npx postern serve --demo', directory, {
      POSTERN_GRPC_ADDRESS: '127.0.0.1:0',
      POSTERN_HTTP_ADDRESS: '127.0.0.1:0',
    });
    background.push(demo);
    const [, grpc = '', http = ''] = await until(demo, /gRPC on (\S+), HTTP on (\S+)\n/);
    const here = (text: string): string =>
      text
        .replaceAll(PORTS.grpc, grpc)
        .replaceAll(PORTS.http, http)
        .replaceAll('$!', String(background.at(-1)?.child.pid));
    const there = (text: string): string =>
      text.replaceAll(grpc, PORTS.grpc).replaceAll(http, PORTS.http);
    const steps = pages.flatMap(({ name, parts }) => parts.map((part) => ({ name, part })));
    for (const { name, part } of steps)
      if ('file' in part) write(directory, part);
      else {
        const at = `${name}:${part.line}`;
        // The variable also moves a server's listener: only the command that asks for it gets it.
        const health = /postern healthcheck/.test(part.command)
          ? { POSTERN_HTTP_ADDRESS: http }
          : {};
        // The command line's variable is unknown to the server's settings, which warn of it.
        const server = /postern (serve|apply|export)/.test(part.command);
        const environment = { ...(server ? {} : { POSTERN_ADDRESS: grpc }), ...health };
        if (part.command.endsWith(' &')) {
          const running = start(here(part.command.slice(0, -2)), directory, environment);
          background.push(running);
          await until(running, pattern(part.expected, false), at);
        } else {
          const running = start(here(part.command), directory, environment);
          const code = await running.ended;
          transcripts.push(compare(at, part, there(running.output()), code));
        }
      }
    return {
      wanted: transcripts.map(({ wanted }) => wanted).join('\n'),
      got: transcripts.map(({ got }) => got).join('\n'),
    };
  } finally {
    for (const { child } of background) child.kill('SIGTERM');
    await Promise.all(background.map(({ ended }) => ended));
    rmSync(directory, { recursive: true, force: true });
  }
}

function write(directory: string, { file, text }: Written): void {
  const path = join(directory, normalize(file));
  if (!path.startsWith(directory)) throw new Error(`${file} is outside`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** One command line; both outputs come as a terminal would show them. */
function start(
  command: string,
  directory: string,
  environment: Readonly<Record<string, string>>,
): Running {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('POSTERN_'));
  const node = `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`;
  const child = spawn('bash', ['-c', command.replaceAll('npx postern', 'node dist/postern.js')], {
    cwd: directory,
    env: { ...Object.fromEntries(own), NO_COLOR: '1', PATH: node, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const collect = (chunk: Buffer): void => void (output += chunk.toString());
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const ended = new Promise<number | null>((done) => child.on('close', (code) => done(code)));
  return { child, output: () => output, ended };
}

async function until(running: Running, wanted: RegExp, at = 'demo'): Promise<RegExpExecArray> {
  for (const deadline = Date.now() + READY_MS; ;) {
    const found = wanted.exec(running.output());
    if (found !== null) return found;
    if (Date.now() > deadline || running.child.exitCode !== null)
      throw new Error(`${at}: it has not said ${String(wanted)}, but\n${running.output()}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

function compare(
  at: string,
  { command, expected, exit }: Step,
  output: string,
  code: number | null,
): Transcript {
  const show = (text: string, ended: number | null): string =>
    `# ${at}\n$ ${command}\n${text.trimEnd()}\n[exit ${String(ended)}]`;
  const wanted = expected.join('\n');
  const same = pattern(expected, true).test(`${output.trimEnd()}\n`);
  return { wanted: show(wanted, exit), got: show(same ? wanted : output, code) };
}

function pattern(expected: readonly string[], whole: boolean): RegExp {
  const lines = expected.join('\n').trimEnd().split('\n');
  const body = lines
    .map((line) =>
      line === '…'
        ? '(?:.*\\n)*'
        : `${line
            .trimEnd()
            .split('…')
            .map((literal) => RegExp.escape(literal))
            .join('.*')}[ \\t]*\\n`,
    )
    .join('');
  return new RegExp(whole ? `^${body}$` : `^(?:.*\\n)*?${body}`);
}
