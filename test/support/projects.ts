/**
 * The two projects of the tests. A unit test starts no process and no server and needs no build, so that
 * `npm run test:unit` answers within a minute. Every other test file is a system test.
 * `test/projects.test.ts` holds this list against what the files import.
 */
export const UNIT = [
  'test/architecture.test.ts',
  'test/projects.test.ts',
  'test/admin/**/!(cascade|concurrent|migrate|postgres|random|tenant-delete|threads).test.ts',
  'test/audit/impact.test.ts',
  'test/audit/schema.test.ts',
  'test/audit/withheld.test.ts',
  'test/cases/cases.test.ts',
  'test/config/**/!(exposure|scan).test.ts',
  'test/engine/**/*.test.ts',
  'test/facts/**/!(redis).test.ts',
  'test/identity/callers.test.ts',
  'test/identity/clock.test.ts',
  'test/identity/rate.test.ts',
  'test/identity/token.test.ts',
  'test/oracle/**/!(redis).test.ts',
  'test/service/**/*.test.ts',
  'test/store/contract.test.ts',
  'test/store/redis-parts.test.ts',
  'test/transport/admin-requests.test.ts',
  'test/transport/codec.test.ts',
  'test/transport/ext-authz-folding.test.ts',
  'test/transport/repeats.test.ts',
  'test/util/turns.test.ts',
];
