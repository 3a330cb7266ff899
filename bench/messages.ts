/** Request messages as bytes, made once by a general codec from the proto file. */
import { join } from 'node:path';
import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import type { Scalar } from '../src/engine/model.ts';
import { ACTION, KEY, objectAt, TENANT, USER, VARIETY } from './world.ts';

export const SERVICE = '/postern.v1.AuthorizationService';

export type MethodName = 'Check' | 'BatchCheck' | 'Filter' | 'CheckStream';

const definition = loadSync('postern/v1/authorization.proto', {
  includeDirs: [join(import.meta.dirname, '../proto')],
  keepCase: true,
  defaults: true,
  longs: Number,
  enums: String,
});

/** A method's codecs, made from the proto file. */
export function method(name: MethodName): MethodDefinition<object, object> {
  // A service's entry in a package definition is a map from its methods.
  const service = definition['postern.v1.AuthorizationService'] as ServiceDefinition;
  const found = service[name];
  if (found === undefined) throw new Error(`the proto file has no ${name}`);
  return found;
}

function encode(name: MethodName, message: object): Buffer {
  return method(name).requestSerialize(message);
}

export function decode(name: MethodName, bytes: Buffer): Readonly<Record<string, unknown>> {
  return { ...method(name).responseDeserialize(bytes) };
}

const subject = { type: 'user', id: USER };

function resource(n: number, visible = true): object {
  const { type, id, path, attributes } = objectAt(n, visible);
  return {
    type,
    id,
    path,
    attributes: Object.fromEntries([...attributes].map(([key, values]) => [key, value(values)])),
  };
}

function value(values: readonly Scalar[]): object {
  const each = values.map((one) => ({ stringValue: String(one) }));
  return each.length === 1 && each[0] !== undefined ? each[0] : { listValue: { values: each } };
}

function check(n: number): object {
  return {
    id: `call-${n}`,
    tenant: TENANT,
    subject,
    key_id: KEY,
    action: ACTION,
    resource: resource(n),
  };
}

/** @param variety how many different questions: with more than are remembered, none is asked a second time */
export function checks(variety = VARIETY): readonly Buffer[] {
  return Array.from({ length: variety }, (_, n) => encode('Check', check(n)));
}

export function batches(size: number): readonly Buffer[] {
  return Array.from({ length: 8 }, (_, batch) =>
    encode('BatchCheck', {
      tenant: TENANT,
      subject,
      key_id: KEY,
      action: ACTION,
      checks: Array.from({ length: size }, (_unused, n) => ({
        id: `${n}`,
        resource: resource(batch * size + n),
      })),
    }),
  );
}

export function filters(size: number): readonly Buffer[] {
  return [
    encode('Filter', {
      tenant: TENANT,
      subject,
      key_id: KEY,
      action: ACTION,
      objects: Array.from({ length: size }, (_, n) => resource(n, n % 3 !== 0)),
    }),
  ];
}
