/** Who may call: judged by the headers of a call, before anything of it is read. */
import type { MaybePromise } from '../../util/later.ts';
import type { CallContext, Layer } from '../intercept.ts';
import type { Method } from './methods.ts';
import { CODE, withReason, type RpcError } from './status.ts';

/** Judges the caller of one service by its `authorization`. @returns why it may not call; `undefined`: it may */
export type JudgeCaller = (authorization: string) => MaybePromise<RpcError | undefined>;

/** Whether the caller with this `authorization` is the operator. */
export type IsOperator = (authorization: string) => boolean;

export interface CallerOptions {
  /** Whether a caller with this `authorization` may ask; `undefined`: whoever connects may. */
  readonly mayCall: ((authorization: string) => boolean) | undefined;
  /** Whether a caller is the operator, who may call the methods that tell it more, and is told more by them. */
  readonly isOperator: IsOperator;
  /** Services that judge their callers by themselves, by the first part of their paths: `/postern.v1.AdminService/`. */
  readonly ownCallers: Readonly<Record<string, JudgeCaller>>;
}

/** The caller of the service, whoever the question is about. */
const UNKNOWN_CALLER = withReason(
  CODE.UNAUTHENTICATED,
  'CALLER',
  'the caller is not known here: send `authorization: Bearer TOKEN` with a token of `grpc.callers`',
);

/** @param operator methods that the operator may call whoever else may */
export function callerLayer(
  { mayCall, isOperator, ownCallers }: CallerOptions,
  operator: Readonly<Record<string, Method>>,
): Layer {
  const services = Object.entries(ownCallers);
  return {
    admit(path, { authorization = '' }) {
      for (const [prefix, judge] of services)
        if (path.startsWith(prefix)) return judge(authorization);
      if (mayCall === undefined) return undefined;
      if (Object.hasOwn(operator, path) && isOperator(authorization)) return undefined;
      return mayCall(authorization) ? undefined : UNKNOWN_CALLER;
    },
  };
}

/** Answers the operator by its own method of a path, where there is one, and everybody else by the other. */
export function operatorLayer(
  isOperator: IsOperator,
  operator: Readonly<Record<string, Method>>,
): Layer {
  return {
    wrap(next, { path }) {
      const own = operator[path];
      if (own === undefined) return next;
      return (bytes, call, waitMs) =>
        isOperator(authorizationOf(call)) ? own(bytes, waitMs) : next(bytes, call, waitMs);
    },
  };
}

function authorizationOf({ metadata }: CallContext): string {
  // Of several, none counts: the one that another server reads may be another one.
  const [value = '', ...more] = metadata.get('authorization');
  return typeof value === 'string' && more.length === 0 ? value : '';
}
