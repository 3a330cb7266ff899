/** Schema pieces that several file kinds share, with the rules of `engine/` as their refinements. */
import * as z from 'zod';
import { TREE_VERBS, type Access } from '../engine/action.ts';
import { idProblem, storedIdProblem } from '../engine/id.ts';
import { MODELS, MODES } from '../engine/model.ts';
import { pathProblem } from '../engine/path.ts';
import { permissionProblem } from '../engine/permissions.ts';

function ruled(problem: (value: string) => string | undefined): z.ZodString {
  return z.string().check((context) => {
    const found = problem(context.value);
    if (found !== undefined)
      context.issues.push({ code: 'custom', message: found, input: context.value });
  });
}

/** ID-1 */
export const id = ruled(idProblem).meta({ minLength: 1, maxLength: 256 });
/** An id that may be stored already, from before a stricter rule; `admin/state.ts` refuses it where it is not. */
export const knownId = ruled(storedIdProblem).meta({ minLength: 1, maxLength: 256 });
/** PATH-1 */
export const treePath = ruled(pathProblem).meta({
  description: 'A tree path: "" is the root, else labels joined by `.`',
});
/** RBAC-1 */
export const permission = ruled(permissionProblem).meta({
  description: '`resource:verb`; either side may be `*`',
});
export const mode = z
  .enum(MODES)
  .meta({ description: 'off: not evaluated; report_only: recorded; enforce: decides' });
export const treeAction = z.enum(TREE_VERBS);
export const level = z.int().min(0).max(100).meta({ description: 'Seniority, 0 to 100 (RBAC-3)' });

/** A number that a double holds exactly: `12345678901234567890` would silently become another one. */
const number = z.number().check((context) => {
  if (Number.isInteger(context.value) && !Number.isSafeInteger(context.value))
    context.issues.push({
      code: 'custom',
      message: 'is too large to be kept exactly: write it as a string, in quotes',
      input: context.value,
    });
});
/** ABAC-3 */
export const scalar = z.union([z.string(), number, z.boolean()]);
/** Any JSON, with numbers that are kept exactly: `.nan`, `.inf` and dates are no JSON. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export const json: z.ZodType<Json, Json> = z.lazy(() =>
  z.union([z.string(), number, z.boolean(), z.null(), z.array(json), z.record(z.string(), json)]),
);

/** Metadata as files and requests write it: a scalar counts as a list of one. */
export const attributes = z
  .record(z.string(), z.union([scalar, z.array(scalar)]))
  .meta({ description: 'Metadata: key → scalar or list of scalars' });

export const access: z.ZodType<Access, Access> = z.lazy(() =>
  z.union([
    z.enum(MODELS),
    z.strictObject({ any: z.array(access).min(1) }),
    z.strictObject({ all: z.array(access).min(1) }),
  ]),
);
