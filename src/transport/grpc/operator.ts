/** Methods that tell the operator more than others. */
import type { Metadata, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';

type Handler = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => void;

/** Whether the caller with this `authorization` is the operator. */
export type IsOperator = (authorization: string) => boolean;

/** Answers the operator by the one, and everybody else by the other. */
export function byCaller(isOperator: IsOperator, operator: Handler, others: Handler): Handler {
  return (call, reply) =>
    isOperator(authorizationOf(call.metadata)) ? operator(call, reply) : others(call, reply);
}

function authorizationOf(metadata: Metadata): string {
  // Of several, none counts: the one that another server reads may be another one.
  const [value = '', ...more] = metadata.get('authorization');
  return typeof value === 'string' && more.length === 0 ? value : '';
}
