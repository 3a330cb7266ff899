/** The kinds of records, in the order in which stores number them: a new one comes last. */
import type { Kind } from '../../engine/records.ts';

export const KINDS: readonly Kind[] = [
  'tenant',
  'user',
  'role',
  'workspace',
  'owner',
  'policy_set',
  'key',
  'receipt',
  'refs',
  'name',
  'policy_version',
  'usage',
  'tombstone',
];
