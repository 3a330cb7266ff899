/** What is read on demand is found in its own plane, and bounded with that of all others. */
import { describe, expect, it } from 'vitest';
import { openShelves, type Shelf } from '../../src/facts/shelves.ts';
import fc from '../support/fast-check.ts';

interface Named {
  readonly name: string;
}

const open = (entries: number, absent: number, bytes = entries) =>
  openShelves<Named, number>(entries, absent, {
    bytes,
    sizeOf: ({ record }) => record?.name.length ?? 1,
  });
const shelf = (): Shelf<Named, number> => new Map();
const entry = (id: string, name?: string) => ({
  id,
  record: name === undefined ? undefined : { name },
  generation: 0,
  compiled: 0,
});
const ids = (of: Shelf<Named, number>): string[] => [...of.keys()].toSorted();

describe('shelves', () => {
  it('the same id in two planes is two entries', () => {
    const shelves = open(10, 10);
    const [a, b] = [shelf(), shelf()];
    shelves.put(a, entry('alice', 'A'));
    expect(shelves.find(b, 'alice', 0)).toBeUndefined();
    shelves.put(b, entry('alice', 'B'));
    shelves.remove(b, 'alice');
    expect(shelves.find(a, 'alice', 0)?.record).toEqual({ name: 'A' });
    expect(shelves.find(b, 'alice', 0)).toBeUndefined();
  });

  it('who was used least recently goes first, whosever it is', () => {
    const shelves = open(3, 10);
    const [a, b] = [shelf(), shelf()];
    shelves.put(a, entry('1', 'x'));
    shelves.put(b, entry('2', 'x'));
    shelves.put(a, entry('3', 'x'));
    shelves.find(a, '1', 1_000);
    shelves.put(b, entry('4', 'x'));
    expect([ids(a), ids(b)]).toEqual([['1', '3'], ['4']]);
    shelves.put(b, entry('5', 'x'));
    expect([ids(a), ids(b)]).toEqual([['1'], ['4', '5']]);
  });

  it('an id whose record came or went is kept once', () => {
    const shelves = open(10, 10);
    const a = shelf();
    shelves.put(a, entry('alice'));
    expect(shelves.find(a, 'alice', 0)).toMatchObject({ id: 'alice', record: undefined });
    expect(shelves.present).toBe(0);
    shelves.put(a, entry('alice', 'A'));
    expect(shelves.present).toBe(1);
    shelves.put(a, entry('alice'));
    expect([shelves.present, shelves.bytes, a.size]).toEqual([0, 0, 1]);
  });

  it('what is larger than all room is kept alone; ids without a record push out none that has one', () => {
    const shelves = open(2, 2, 10);
    const a = shelf();
    shelves.put(a, entry('small', 'x'));
    for (let n = 0; n < 5; n++) shelves.put(a, entry(`nobody-${n}`));
    expect(ids(a)).toEqual(['nobody-3', 'nobody-4', 'small']);
    shelves.put(a, entry('large', 'x'.repeat(100)));
    expect(ids(a)).toEqual(['large', 'nobody-3', 'nobody-4']);
  });

  it('a plane that is no more counts no longer, however much it held; others keep theirs', async () => {
    const shelves = open(10_000, 10_000);
    const [a, b] = [shelf(), shelf()];
    for (let n = 0; n < 2_500; n++) {
      shelves.put(a, entry(`user-${n}`, 'x'));
      shelves.put(a, entry(`nobody-${n}`));
    }
    shelves.put(b, entry('alice', 'A'));
    shelves.abandon(a);
    expect(a.size).toBe(4_000);
    while (a.size > 0) await new Promise((done) => setImmediate(done));
    expect([shelves.present, shelves.bytes, ids(b)]).toEqual([1, 1, ['alice']]);
  });

  it('an entry that could not be kept is not found', () => {
    const shelves = openShelves<Named, number>(10, 10, {
      bytes: 10,
      sizeOf: () => {
        throw new Error('no size');
      },
    });
    const a = shelf();
    expect(() => shelves.put(a, entry('alice', 'A'))).toThrow('no size');
    expect(a.size).toBe(0);
  });

  it('whatever happens, planes hold what is counted and nothing else', () => {
    const at = fc.record({
      plane: fc.nat(2),
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', '__proto__'),
      name: fc.option(fc.string({ minLength: 1, maxLength: 5 }), { nil: undefined }),
      act: fc.constantFrom('put', 'put', 'put', 'find', 'remove', 'clear'),
    });
    fc.assert(
      fc.property(fc.array(at, { maxLength: 60 }), (steps) => {
        const shelves = open(4, 3, 12);
        const planes = [shelf(), shelf(), shelf()];
        for (const [time, { plane, id, name, act }] of steps.entries()) {
          const own = planes[plane] ?? shelf();
          if (act === 'put') {
            shelves.put(own, entry(id, name));
            expect(shelves.find(own, id, time * 100)).toMatchObject(entry(id, name));
          } else if (act === 'remove') {
            shelves.remove(own, id);
            expect(own.has(id)).toBe(false);
          } else if (act === 'find') shelves.find(own, id, time * 100);
          else shelves.clear();
          const all = planes.flatMap((of) => [...of.values()]);
          const present = all.filter(({ record }) => record !== undefined);
          expect(present.length).toBe(shelves.present);
          expect(all.length - present.length).toBeLessThanOrEqual(3);
          expect(shelves.bytes).toBeLessThanOrEqual(12);
        }
      }),
    );
  });
});
