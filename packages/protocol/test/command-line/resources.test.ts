import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseResources, parseWorkerResources } from '../../src/command-line/resources.ts';

describe('parseResources', () => {
  test.each([
    ['GPU=1', [['GPU', 1]]],
    [
      'GPU=2 MEM=10e9',
      [
        ['GPU', 2],
        ['MEM', 10e9],
      ],
    ],
    [
      'GPU=1,CPU=2',
      [
        ['GPU', 1],
        ['CPU', 2],
      ],
    ],
    [
      ' GPU=1 , CPU=0.5 ',
      [
        ['GPU', 1],
        ['CPU', 0.5],
      ],
    ],
    ['GPU=0.0001', [['GPU', 0.0001]]],
    ['GPU=0', [['GPU', 0]]],
    ['MEM=1100e9', [['MEM', 1100e9]]],
    ['__proto__=1', [['__proto__', 1]]],
  ])('reads %j', (text, pairs) => {
    expect(parseResources(text)).toEqual(pairs);
  });

  test.each([
    ['GPU=x', '"GPU=x": amount must be a number, for example GPU=1'],
    ['CPU=2 GPU=x', '"GPU=x": amount must be a number, for example GPU=1'],
    ['GPU=', '"GPU=": amount must be a number, for example GPU=1'],
    ['GPU=NaN', '"GPU=NaN": amount must be a number, for example GPU=1'],
    ['GPU=Infinity', '"GPU=Infinity": amount must be a number, for example GPU=1'],
    ['GPU=1e400', '"GPU=1e400": amount must be a number, for example GPU=1'],
    ['GPU=0x2', '"GPU=0x2": amount must be a number, for example GPU=1'],
    ['GPU=1=2', '"GPU=1=2": amount must be a number, for example GPU=1'],
    ['GPU=-1', '"GPU=-1": amount must not be negative, for example GPU=1'],
    ['GPU=1e17', '"GPU=1e17": amount is too large'],
    ['GPU=0.00001', '"GPU=0.00001": amount has more than four decimals'],
    ['GPU', '"GPU": is not NAME=AMOUNT (without spaces around =), for example GPU=1'],
    ['GPU = 1', '"GPU": is not NAME=AMOUNT (without spaces around =), for example GPU=1'],
    ['=1', '"=1": has no name before the =, for example GPU=1'],
    ['GPU=1 GPU=2', '"GPU=2": gives "GPU" a second time'],
    ['threads=4', '"threads=4": "threads" is reserved, use --nthreads'],
    ['', '"": names no resource, write for example GPU=1'],
    [' , ', '" , ": names no resource, write for example GPU=1'],
  ])('refuses %j', (text, message) => {
    expect(() => parseResources(text)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message }),
    );
  });

  test('takes every amount with up to four decimals', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), (tenThousandths) => {
        const amount = tenThousandths / 10_000;
        expect(parseResources(`R=${amount}`)).toEqual([['R', amount]]);
      }),
    );
  });
});

describe('parseWorkerResources', () => {
  test.each([
    ['GPU=2 MEM=10e9', [2, 10e9], []],
    ['GPU=[0,1]', [2], [['GPU', ['0', '1']]]],
    ['GPU=[0, 1],MEM=1.5e9', [2, 1.5e9], [['GPU', ['0', '1']]]],
    [
      'GPU=[ 3 ] FPGA=[a:0]',
      [1, 1],
      [
        ['GPU', ['3']],
        ['FPGA', ['a:0']],
      ],
    ],
    [
      'GPU=[GPU-8f0c41ab-2a,MIG-41ab/1/0,0.1]',
      [3],
      [['GPU', ['GPU-8f0c41ab-2a', 'MIG-41ab/1/0', '0.1']]],
    ],
  ])('reads %j', (text, amounts, devices) => {
    const read = parseWorkerResources(text);
    expect(read.amounts.map(([, amount]) => amount)).toEqual(amounts);
    expect(read.devices).toEqual(devices);
  });

  test.each([
    ['GPU=[]', '"GPU=[]": names no device, write for example GPU=[0,1]'],
    ['GPU=[0,1', '"GPU=[0": devices are named as in GPU=[0,1]'],
    ['GPU=[0]1', '"GPU=[0]1": devices are named as in GPU=[0,1]'],
    ['GPU=[0,0]', '"GPU=[0,0]": names device 0 twice'],
    [
      'GPU=["0"]',
      '"GPU=[\\"0\\"]": "\\"0\\"" is no name of a device, as 0 or GPU-8f0c or MIG-41ab',
    ],
    ['GPU=[0] GPU=1', '"GPU=1": gives "GPU" a second time'],
    ['threads=[0,1]', '"threads=[0,1]": "threads" is reserved, use --nthreads'],
    ['GPU=x', '"GPU=x": amount must be a number, for example GPU=1'],
  ])('refuses %j', (text, message) => {
    expect(() => parseWorkerResources(text)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message }),
    );
  });
});
