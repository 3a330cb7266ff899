/**
 * The embedded store where the disk is full or its file is cut off. Promise: a write fails with its cause, decisions go on,
 * the process stays; a file that lacks pages is refused in a sentence, and never mapped.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { checkDatabase } from '../../src/store/embedded/file.ts';
import { readAll, type Store } from '../../src/store/store.ts';
import { gone, put, user } from '../support/records.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const SCRIPT = fileURLToPath(new URL('../support/full-disk.ts', import.meta.url));

describe('a full disk', () => {
  it(
    'fails writes with their cause; decisions go on, also after a restart',
    { timeout: 60_000 },
    () => {
      if (process.getuid?.() !== 0)
        throw new Error('this test mounts a file system in a namespace of its own: run it as root');
      const directory = temporaryDirectory();
      const command = `mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" "$3" "$1"`;
      const ran = spawnSync(
        'unshare',
        ['--mount', 'sh', '-c', command, 'sh', directory, process.execPath, SCRIPT],
        { encoding: 'utf8', timeout: 50_000 },
      );
      const told = new Map(
        ran.stdout
          .split('\n')
          .filter((line) => line.startsWith('{'))
          .map((line) => JSON.parse(line) as { step: string; said: unknown })
          .map(({ step, said }) => [step, said]),
      );
      expect({ status: ran.status, signal: ran.signal }, ran.stderr).toEqual({
        status: 0,
        signal: null,
      });
      const full = expect.stringMatching(
        /^StoreError: .*could not commit: the disk is full: free some/,
      );
      expect(Object.fromEntries(told)).toMatchObject({
        'a write': full,
        'many at once': [full, full, full, full, full],
        'a decision': 'ALLOWED@1',
        'opened again': expect.stringMatching(/^ALLOWED@/),
        'a new one': expect.stringMatching(/^StoreError: cannot open the embedded store/),
        'with room': 'done',
      });
      // Written where there was room for it, else kept for the next time.
      expect(told.get('uses')).toSatisfy(
        ({ errors, left }: { errors: number; left: number }) => (errors === 0) === (left === 0),
      );
    },
  );
});

describe('a database file', () => {
  let file: string;
  let size: number;
  beforeAll(async () => {
    const directory = temporaryDirectory();
    const store = openEmbeddedStore(directory);
    for (let round = 0; round < 30; round++)
      await put(
        store,
        `t${round % 3}`,
        ...Array.from({ length: 60 }, (_, at) =>
          user(`u${round}-${at}`, { email: 'x'.repeat(at === 0 ? 20_000 : 100) }),
        ),
      );
    for (let round = 0; round < 10; round++)
      await put(
        store,
        `t${round % 3}`,
        ...Array.from({ length: 60 }, (_, at) => gone('user', `u${round}-${at}`)),
      );
    await store.close();
    file = join(directory, 'postern.mdb');
    ({ size } = statSync(file));
  });

  /** A copy, in a directory of its own. */
  const copy = (): { readonly directory: string; readonly path: string } => {
    const directory = join(temporaryDirectory(), 'store');
    mkdirSync(directory);
    const path = join(directory, 'postern.mdb');
    copyFileSync(file, path);
    return { directory, path };
  };
  const bytesAt = (path: string, at: number, bytes: Buffer): void => {
    const descriptor = openSync(path, 'r+');
    writeSync(descriptor, bytes, 0, bytes.length, at);
    closeSync(descriptor);
  };

  it('that is whole is taken', () => {
    expect(() => checkDatabase(file)).not.toThrow();
  });

  it('that ends before a page that nothing refers to is taken: it is looked through', () => {
    const { path } = copy();
    // As if a page behind the end had once been used, in both meta pages.
    for (const meta of [0, 4_096]) {
      const last = Buffer.alloc(8);
      last.writeBigUInt64LE(BigInt(size / 4_096 + 5));
      bytesAt(path, meta + 24 + 120, last);
    }
    expect(() => checkDatabase(path)).not.toThrow();
  });

  it.each([0.25, 0.5, 0.75, 0.9, 0.999])(
    'that lacks so much of its end is refused in a sentence: %d',
    (part) => {
      const { directory, path } = copy();
      truncateSync(path, Math.floor(size * (1 - part)));
      expect(() => openEmbeddedStore(directory)).toThrow('cannot open the embedded store');
      expect(() => checkDatabase(path)).toThrow(/cut off or damaged|no LMDB database/);
    },
  );

  it.each([1, 4_095, 4_096, 12_288, 40_960, 81_920])(
    'that lacks %d bytes is refused, or they were of no use and all is there',
    async (missing) => {
      const { directory, path } = copy();
      truncateSync(path, size - missing);
      let store: Store;
      try {
        store = openEmbeddedStore(directory);
      } catch (error) {
        expect(String(error)).toContain('cannot open the embedded store');
        return;
      }
      const whole = openEmbeddedStore(join(file, '..'));
      for (const tenant of ['t0', 't1', 't2'])
        expect(await readAll(store, tenant, ['user'])).toEqual(
          await readAll(whole, tenant, ['user']),
        );
      await store.close();
      await whole.close();
    },
  );

  it.each([
    ['a directory', (path: string) => mkdirSync(path), 'is no file'],
    ['a pipe', (path: string) => void execFileSync('mkfifo', [path]), 'is no file'],
    ['a device', (path: string) => symlinkSync('/dev/zero', path), 'is no file'],
    ['a link to nothing', (path: string) => symlinkSync('/nowhere/x', path), 'leads nowhere'],
  ])('that is %s, or has a lock file that is, is refused', (_, make, problem) => {
    for (const end of ['', '-lock']) {
      const { directory, path } = copy();
      rmSync(`${path}${end}`, { force: true });
      make(`${path}${end}`);
      expect(() => checkDatabase(path)).toThrow(problem);
      expect(() => openEmbeddedStore(directory)).toThrow('cannot open the embedded store');
    }
  });

  it('that is empty, and was not, is refused', () => {
    const { directory, path } = copy();
    openEmbeddedStore(directory);
    truncateSync(path, 0);
    expect(() => checkDatabase(path)).toThrow('is empty, although it was in use');
  });

  it.each([
    ['the mark of its first page', 24],
    ['the mark of its second page', 4_096 + 24],
    ['the size of its pages', 24 + 24],
  ])('that has lost %s is refused', (_, at) => {
    const { path } = copy();
    bytesAt(path, at, Buffer.alloc(4, 0xee));
    expect(() => checkDatabase(path)).toThrow(/no LMDB database/);
  });

  it(
    'that is cut off keeps a server from starting: exit code 2, a sentence',
    { timeout: 60_000 },
    () => {
      const { directory, path } = copy();
      truncateSync(path, size / 2);
      const ran = spawnSync(
        process.execPath,
        ['src/cli/main.ts', 'serve', '--config', 'config/postern.yaml'],
        {
          cwd: PACKAGE_ROOT,
          encoding: 'utf8',
          env: { ...process.env, POSTERN_STORE: `embedded:${directory}` },
          timeout: 30_000,
        },
      );
      expect(ran.stderr).toMatch(/cut off or damaged.*restore it from a copy/);
      expect({ status: ran.status, signal: ran.signal }).toEqual({ status: 2, signal: null });
    },
  );
});
