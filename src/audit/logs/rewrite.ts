/** Rewrites a file of a log in one step: whatever happens meanwhile, it is the old one or the new one, whole. */
import { randomBytes } from 'node:crypto';
import { createWriteStream, type Stats } from 'node:fs';
import { chmod, chown, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { syncDirectory } from '../sinks/appended-file.ts';
import { linesOf } from './names.ts';

const LINE_FEED = Buffer.from('\n');
/** What is written at once, bytes. */
const BATCH_BYTES = 256 * 1024;

/**
 * @param change a line's new text; `undefined`: its bytes stay
 * @throws Error where somebody else has changed the file meanwhile; it is as it was then
 */
export async function rewrite(
  file: string,
  change: (text: string) => string | undefined,
): Promise<void> {
  await removeLeftOvers(file);
  const temporary = join(dirname(file), `${prefixOf(file)}${randomBytes(6).toString('hex')}`);
  const before = await stat(file);
  try {
    // To the disk, before its name is.
    const out = createWriteStream(temporary, { flags: 'wx', mode: before.mode, flush: true });
    await pipeline(changed(file, change), out);
    await keepOwner(temporary, before);
    // What it was made with, the umask has cut.
    await chmod(temporary, before.mode & 0o7777);
    // Retention goes by it.
    await utimes(temporary, before.atime, before.mtime);
    if (!isSame(before, await stat(file)))
      throw new Error(
        `\`${file}\`: somebody has written to it meanwhile: stop who does, and do it again`,
      );
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(file);
}

async function* changed(
  file: string,
  change: (text: string) => string | undefined,
): AsyncGenerator<Buffer> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for await (const line of linesOf(file)) {
    const text = change(line.text);
    const one = text === undefined ? line.bytes : Buffer.from(text);
    batch.push(one, ...(line.whole ? [LINE_FEED] : []));
    bytes += one.length + 1;
    if (bytes < BATCH_BYTES) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
  }
  yield Buffer.concat(batch);
}

function isSame(one: Stats, other: Stats): boolean {
  return (
    one.ino === other.ino &&
    one.dev === other.dev &&
    one.size === other.size &&
    one.mtimeMs === other.mtimeMs
  );
}

async function keepOwner(file: string, { uid, gid }: Stats): Promise<void> {
  const made = await stat(file);
  if (made.uid !== uid || made.gid !== gid) await chown(file, uid, gid);
}

/** No file of a log is called so. */
function prefixOf(file: string): string {
  return `.${basename(file)}.rewritten-`;
}

/** What an earlier one left behind when it was killed. One that goes on beside this one fails, and changes nothing. */
async function removeLeftOvers(file: string): Promise<void> {
  for (const name of await readdir(dirname(file)))
    if (name.startsWith(prefixOf(file))) await rm(join(dirname(file), name), { force: true });
}
