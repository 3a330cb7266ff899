/** The id under which a record stands in the LMDB file. */
import { createHash } from 'node:crypto';

/** LMDB's keys are bounded; longer ids (paths of 64 labels) are stored under their hash. */
const MAX_KEY_CHARS = 512;

export function dbIdOf(id: string): string {
  return id.length <= MAX_KEY_CHARS
    ? id
    : `sha256:${createHash('sha256').update(id).digest('hex')}`;
}
