/** Child processes that run a TypeScript file, and their lines. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { tied } from './tied.ts';

export interface Child {
  /** Lines of standard output so far. */
  readonly lines: readonly string[];
  /** The next line that has not been waited for. @throws when the process ends before it */
  line(): Promise<string>;
  write(text: string): void;
  endInput(): void;
  /** SIGKILL; resolves when the process is gone and all it wrote was read. */
  kill(): Promise<void>;
  /** Resolves with the exit code, `null` after a signal. */
  readonly ended: Promise<number | null>;
}

export function startScript(script: URL, ...args: readonly string[]): Child {
  const file = fileURLToPath(script);
  const child: ChildProcessByStdio<Writable, Readable, null> = tied(
    spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  // A line that is written to a process which is gone.
  child.stdin.on('error', () => {});
  const lines: string[] = [];
  let waited = 0;
  let over = false;
  let wake: (() => void)[] = [];
  const notify = (): void => {
    const woken = wake;
    wake = [];
    for (const go of woken) go();
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    notify();
  });
  const ended = once(child, 'close').then(([code]) => {
    over = true;
    notify();
    return code as number | null;
  });
  return {
    lines,
    ended,
    async line(): Promise<string> {
      const at = waited++;
      for (;;) {
        const line = lines[at];
        if (line !== undefined) return line;
        if (over) throw new Error(`${file} ended before it wrote line ${at + 1}`);
        await new Promise<void>((go) => wake.push(go));
      }
    },
    write: (text) => void child.stdin.write(text),
    endInput: () => void child.stdin.end(),
    async kill(): Promise<void> {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
