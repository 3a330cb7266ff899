/** Messages of the API for tests: requests written from the engine's types, answers read by a general codec. */
import { join, resolve } from 'node:path';
import protobuf from 'protobufjs';
import type { Attributes, Request, Resource, Scalar } from '../../src/engine/model.ts';
import { Writer } from '../../src/transport/codec/wire.ts';

const root = new protobuf.Root();
root.resolvePath = (_origin, target): string =>
  target.startsWith('google/') ? target : join(resolve('proto'), target);
root.loadSync('postern/v1/authorization.proto', { keepCase: true }).resolveAll();

const messageType = (name: string): protobuf.Type => root.lookupType(`postern.v1.${name}`);

/** A message as a plain object, defaults included. */
export function readMessage(name: string, bytes: Buffer): Record<string, unknown> {
  const type = messageType(name);
  return type.toObject(type.decode(bytes), {
    longs: Number,
    enums: String,
    defaults: true,
    arrays: true,
  });
}

/** A CheckRequest; unlike a plain object's, its maps may have any key (`__proto__`). */
export function checkRequest(request: Request, id = ''): Buffer {
  const writer = new Writer();
  writer.string(1, id);
  writer.string(2, request.tenant);
  writeSubject(writer, 3, request);
  writer.string(4, request.keyId ?? '');
  writer.string(6, request.action);
  writeResource(writer, 7, request.resource);
  return writer.finish();
}

export function filterRequest(
  request: Request,
  objects: readonly Resource[],
  page: { readonly limit: number; readonly offset: number },
): Buffer {
  const writer = new Writer();
  writer.string(1, request.tenant);
  writeSubject(writer, 2, request);
  writer.string(3, request.keyId ?? '');
  writer.string(5, request.action);
  for (const object of objects) writeResource(writer, 6, object);
  writer.uint(7, page.limit);
  writer.uint(8, page.offset);
  return writer.finish();
}

function writeSubject(writer: Writer, field: number, { subject }: Request): void {
  if (subject === undefined) return;
  writer.message(field, () => {
    writer.string(1, subject.type);
    writer.string(2, subject.id);
  });
}

function writeResource(writer: Writer, field: number, resource: Resource): void {
  writer.message(field, () => {
    writer.string(1, resource.type);
    writer.string(2, resource.id);
    if (resource.path !== undefined) writer.element(3, resource.path);
    writeAttributes(writer, 4, resource.attributes);
    for (const source of resource.sources)
      writer.message(5, () => writeAttributes(writer, 1, source));
  });
}

function writeAttributes(writer: Writer, field: number, attributes: Attributes): void {
  for (const [key, values] of attributes)
    writer.message(field, () => {
      writer.element(1, key);
      writer.bytes(2, valueBytes(values));
    });
}

/** A list as a `google.protobuf.Value`, by the general codec. */
function valueBytes(values: readonly Scalar[]): Buffer {
  const type = root.lookupType('google.protobuf.Value');
  const list = { listValue: { values: values.map(toValue) } };
  return Buffer.from(type.encode(type.fromObject(list)).finish());
}

function toValue(value: Scalar): object {
  if (typeof value === 'string') return { stringValue: value };
  return typeof value === 'number' ? { numberValue: value } : { boolValue: value };
}
