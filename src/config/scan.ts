/**
 * The files of a directory, as every command finds them: each real file once, whatever links lead to it. A ConfigMap
 * shows its files three times, as `a.yaml`, `..data/a.yaml` and `..2030_01_31/a.yaml`: what begins with two dots is its
 * own book-keeping, and is left out.
 */
import { readdirSync, realpathSync, statSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../util/system-error.ts';
import { ConfigError } from './problem.ts';

/** Directories below each other. */
const MAX_DEPTH = 16;
/** Entries of all directories that are looked at. */
const MAX_ENTRIES = 20_000;

/** `a.yaml`, `a.yml`, `a.json`; a JSON Schema is none of Postern's files. */
const FILE = /(?<!\.schema)\.(?:ya?ml|json)$/;
/** Directories that hold others' files. */
const FOREIGN = new Set(['.git', 'node_modules']);

/** Whether a name in a directory is its owner's, and not book-keeping of the volume it stands on. */
export function isEntry(name: string): boolean {
  return !name.startsWith('..');
}

/**
 * All files below a directory that may be Postern's, in the order of their names; a file is itself.
 * @throws ConfigError where something cannot be read, a link leads in a circle or nowhere, or there is too much
 */
export function scanFiles(path: string): readonly string[] {
  const about = look(path);
  if (!about.isDirectory()) return [path];
  const found: string[] = [];
  const seen = new Set<string>([identityOf(about)]);
  let entries = 0;
  const visit = (directory: string, above: readonly string[]): void => {
    if (above.length > MAX_DEPTH)
      throw wrong(directory, `is more than ${MAX_DEPTH} directories deep: move it up`);
    for (const name of namesIn(directory)) {
      if (++entries > MAX_ENTRIES)
        throw wrong(path, `holds more than ${MAX_ENTRIES} entries: name a smaller directory`);
      const at = join(directory, name);
      const mayBeFile = FILE.test(name);
      const stats = mayBeFile ? look(at) : lookOrNot(at);
      if (stats === undefined) continue;
      const identity = identityOf(stats);
      if (stats.isDirectory()) {
        if (FOREIGN.has(name)) continue;
        if (above.includes(identity))
          throw wrong(
            at,
            `is a link to \`${realpathSync(at)}\`, which is above it: remove the link`,
          );
        if (seen.has(identity)) continue;
        seen.add(identity);
        visit(at, [...above, identity]);
      } else if (mayBeFile && stats.isFile() && !seen.has(identity)) {
        seen.add(identity);
        found.push(at);
      }
    }
  };
  visit(path, [identityOf(about)]);
  return found;
}

/** One place on a disk, by whichever name. */
function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).filter(isEntry).sort();
  } catch (error) {
    throw wrong(directory, `cannot be read: ${errorText(error)}`);
  }
}

function look(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw wrong(path, `cannot be read: ${errorText(error)}`);
  }
}

/** What is no file of Postern's by its name may lead nowhere. */
function lookOrNot(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

function wrong(file: string, message: string): ConfigError {
  return new ConfigError([{ file, line: 1, column: 1, path: '', message, severity: 'error' }]);
}
