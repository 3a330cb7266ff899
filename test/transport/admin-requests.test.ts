/** The requests of AdminService: their types are made from the proto file, and each rule is written for its own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { adminMessages } from '../../scripts/admin-messages.ts';
import { WRITES, type WriteName } from '../../src/admin/operations.ts';
import { fromWire, REQUIRED } from '../../src/transport/grpc/admin/messages.ts';
import type { AdminRequests } from '../../src/transport/grpc/admin/requests.ts';
import type { ProtoStruct } from '../../src/util/proto-value.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';

/** A message as `fromWire` gives it to the rules: structs are plain JSON, what is required is there. */
type Plain<T> = [T] extends [ProtoStruct | null]
  ? Readonly<Record<string, unknown>> | undefined
  : T extends Buffer
    ? T
    : T extends readonly (infer Item)[]
      ? readonly Plain<Item>[]
      : T extends object
        ? { readonly [F in keyof T]: Plain<F extends Required ? NonNullable<T[F]> : T[F]> }
        : T;
type Required = (typeof REQUIRED)[number];
/** `read` is added to the message before the rule runs. */
type RuleRequest<Name extends WriteName> = Omit<
  Parameters<(typeof WRITES)[Name]['rule']>[1],
  'read'
>;
/** Calls whose rule is written for another message than that of the proto file. */
type Disagreeing = {
  [Name in WriteName]: Plain<AdminRequests[Name]> extends RuleRequest<Name> ? never : Name;
}[WriteName];

it('are in step with the proto file: run `npm run gen` where they are not', async () => {
  const path = join(PACKAGE_ROOT, 'src/transport/grpc/admin/requests.ts');
  expect(readFileSync(path, 'utf8')).toBe(await adminMessages());
});

it('are those that the rules are written for', () => {
  // The compiler refuses this line where a rule is not.
  const disagreeing: readonly Disagreeing[] = [];
  const none: readonly never[] = disagreeing;
  expect(none).toEqual([]);
  const messages = readFileSync(join(PACKAGE_ROOT, 'proto/postern/v1/admin.proto'), 'utf8');
  for (const name of Object.keys(WRITES)) expect(messages).toContain(`rpc ${name}(`);
});

it('are refused without what says what to do', () => {
  for (const field of REQUIRED)
    expect(() => fromWire({ tenant: 't', options: null, [field]: null })).toThrow(
      `${field}: is missing`,
    );
});
