// Writes tests/vectors/*.json from implementations that share no code with this crate:
// `@layerzerolabs/lz-v2-utilities` for packets and options, `@ethersproject` for the DVN's
// digests, call data and signatures.
//
//   npm install --prefix DIR --legacy-peer-deps @layerzerolabs/lz-v2-utilities
//   node tests/make-vectors.mjs DIR/node_modules
//
// The output is the same on every run, so a change of the files is a change of the formats.
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = process.argv[2];
if (!modules) {
    console.error('usage: node make-vectors.mjs NODE_MODULES');
    process.exit(2);
}
const require = createRequire(join(resolve(modules), 'vectors.cjs'));
const { calculateGuid, Options, optionsType1, optionsType2, PacketSerializer, PacketV1Codec } =
    require('@layerzerolabs/lz-v2-utilities');
const { Interface } = require('@ethersproject/abi');
const { arrayify, hexConcat, hexZeroPad } = require('@ethersproject/bytes');
const { hashMessage } = require('@ethersproject/hash');
const { keccak256 } = require('@ethersproject/keccak256');
const { computeAddress } = require('@ethersproject/transactions');
const { keccak256: solidityKeccak } = require('@ethersproject/solidity');
const { SigningKey } = require('@ethersproject/signing-key');
const { joinSignature } = require('@ethersproject/bytes');

/** `length` bytes that depend on `label` alone. */
function bytes(label, length) {
    let out = '0x';
    for (let i = 0; out.length < 2 + 2 * length; i++) {
        out += keccak256(Buffer.from(`${label}/${i}`)).slice(2);
    }
    return out.slice(0, 2 + 2 * length);
}
const address = (label) => bytes(label, 20);

function packet(name, { nonce, srcEid, dstEid, sender, receiver, message }) {
    const head = { version: 1, nonce, srcEid, dstEid, sender, receiver };
    const guid = calculateGuid(head);
    const encoded = PacketSerializer.serialize({
        ...head,
        guid,
        message,
        payload: hexConcat([guid, message]),
    });
    const codec = PacketV1Codec.from(encoded);
    return {
        name,
        nonce,
        src_eid: srcEid,
        dst_eid: dstEid,
        sender: hexZeroPad(sender, 32),
        receiver: hexZeroPad(receiver, 32),
        message,
        encoded,
        header: codec.header(),
        guid,
        header_hash: codec.headerHash(),
        payload_hash: codec.payloadHash(),
    };
}

function packets() {
    const usual = {
        nonce: '1',
        srcEid: 30101,
        dstEid: 30110,
        sender: address('sender'),
        receiver: address('receiver'),
        message: '0x68656c6c6f',
    };
    const named = [
        packet('usual', usual),
        packet('empty message', { ...usual, message: '0x' }),
        packet('largest nonce', { ...usual, nonce: '18446744073709551615' }),
        packet('largest eids', { ...usual, srcEid: 4294967295, dstEid: 4294967294 }),
        packet('to a chain with 32-byte addresses', { ...usual, receiver: bytes('far', 32) }),
        packet('read channel', { ...usual, dstEid: 4294967295, receiver: address('sender') }),
        packet('long message', { ...usual, message: bytes('long', 1000) }),
    ];
    const counted = Array.from({ length: 25 }, (_, i) =>
        packet(`sample ${i}`, {
            nonce: BigInt(bytes(`nonce ${i}`, 1 + (i % 8))).toString(),
            srcEid: Number(bytes(`source ${i}`, 4)),
            dstEid: Number(bytes(`destination ${i}`, 4)),
            sender: i % 2 ? address(`sender ${i}`) : bytes(`sender ${i}`, 32),
            receiver: i % 3 ? address(`receiver ${i}`) : bytes(`receiver ${i}`, 32),
            message: bytes(`message ${i}`, 1 + 7 * i),
        }),
    );
    return [...named, ...counted];
}

/** What the utilities read back from `hex`; numbers as decimal text, for 128 bits do not fit. */
function options(name, hex) {
    const read = Options.fromOptions(hex);
    const limits = (found) =>
        found && { gas: found.gas.toString(), value: found.value.toString() };
    const composes = {};
    for (const { index, gas, value } of read.decodeExecutorComposeOption()) {
        const sum = composes[index] ?? { gas: 0n, value: 0n };
        composes[index] = { gas: sum.gas + gas, value: sum.value + value };
    }
    for (const index of Object.keys(composes)) composes[index] = limits(composes[index]);
    const lzRead = read.decodeExecutorLzReadOption();
    return {
        name,
        encoded: hex,
        lz_receive: limits(read.decodeExecutorLzReceiveOption()) ?? null,
        native_drops: read.decodeExecutorNativeDropOption().map(({ amount, receiver }) => ({
            amount: amount.toString(),
            receiver: hexZeroPad(receiver, 32),
        })),
        composes,
        ordered: read.decodeExecutorOrderedExecutionOption(),
        lz_read: lzRead
            ? { ...limits(lzRead), size: Number(lzRead.dataSize) }
            : null,
        precrime: [0, 1, 2, 254].filter((index) => read.findVerifierOption(index, 1)),
    };
}

function allOptions() {
    const create = () => Options.newOptions();
    const most = (2n ** 128n - 1n).toString();
    const friend = address('friend');
    return [
        options('the documented default', create().addExecutorLzReceiveOption(200000).toHex()),
        options('no options', create().toHex()),
        options('gas and value', create().addExecutorLzReceiveOption(65000, '1000000000').toHex()),
        options('most gas and value', create().addExecutorLzReceiveOption(most, most).toHex()),
        options(
            'repeated receive is summed',
            create().addExecutorLzReceiveOption(60000, 5).addExecutorLzReceiveOption(40000).toHex(),
        ),
        options(
            'no gas, then gas',
            create().addExecutorLzReceiveOption(0, 5).addExecutorLzReceiveOption(40000).toHex(),
        ),
        options(
            'drop',
            create().addExecutorLzReceiveOption(1).addExecutorNativeDropOption(77, friend).toHex(),
        ),
        options(
            // To three receivers: the utilities merge drops to one, the executor pays each.
            'drops in order',
            create()
                .addExecutorNativeDropOption(most, friend)
                .addExecutorNativeDropOption(0, bytes('far friend', 32))
                .addExecutorNativeDropOption(3, address('other friend'))
                .toHex(),
        ),
        options(
            'composes',
            create()
                .addExecutorLzReceiveOption(100000)
                .addExecutorComposeOption(0, 50000, 9)
                .addExecutorComposeOption(65535, 1)
                .addExecutorComposeOption(7, 30000)
                .toHex(),
        ),
        options(
            'repeated compose is summed',
            create()
                .addExecutorComposeOption(1, 10, 1)
                .addExecutorComposeOption(1, 20)
                .addExecutorComposeOption(2, 30, 3)
                .toHex(),
        ),
        options(
            'ordered',
            create().addExecutorLzReceiveOption(9).addExecutorOrderedExecutionOption().toHex(),
        ),
        options('read', create().addExecutorLzReadOption(100000, 64).toHex()),
        options('read with value', create().addExecutorLzReadOption(100000, 4294967295, 8).toHex()),
        options(
            'verifier options',
            create()
                .addExecutorLzReceiveOption(5)
                .addVerifierPrecrimeOption(0)
                .addVerifierPrecrimeOption(254)
                .toHex(),
        ),
        options(
            'everything',
            create()
                .addExecutorLzReceiveOption(200000, 1)
                .addExecutorNativeDropOption(2, friend)
                .addExecutorComposeOption(3, 4, 5)
                .addExecutorOrderedExecutionOption()
                .addVerifierPrecrimeOption(1)
                .toHex(),
        ),
        options('type 1', optionsType1(200000)),
        options('type 2', optionsType2(200000, 123456789, friend)),
    ];
}

const keys = ['first', 'second', 'third'].map((name) => new SigningKey(bytes(name, 32)));
const receiveLibrary = new Interface(['function verify(bytes, bytes32, uint64)']);
const dvn = new Interface([
    'function execute((uint32 vid, address target, bytes callData, uint256 expiration, bytes signatures)[])',
]);

function execution(name, vid, expiration, { header, payload_hash }, confirmations) {
    const target = address(`library of ${name}`);
    const callData = receiveLibrary.encodeFunctionData('verify', [header, payload_hash, confirmations]);
    const digest = solidityKeccak(
        ['uint32', 'address', 'uint256', 'bytes'],
        [vid, target, expiration, callData],
    );
    const signed = hashMessage(arrayify(digest));
    const signatures = keys.map((key) => ({
        signer: computeAddress(key.publicKey),
        signature: joinSignature(key.signDigest(signed)),
    }));
    const sorted = [...signatures].sort((a, b) => (BigInt(a.signer) < BigInt(b.signer) ? -1 : 1));
    const assembled = hexConcat(sorted.map(({ signature }) => signature));
    return {
        name,
        vid,
        target,
        expiration,
        header,
        payload_hash,
        confirmations,
        call_data: callData,
        digest,
        signed_hash: signed,
        signatures,
        assembled,
        execute_call_data: dvn.encodeFunctionData('execute', [
            [{ vid, target, callData, expiration, signatures: assembled }],
        ]),
    };
}

function executions() {
    const [usual, , , , far] = packets();
    return [
        execution('a usual job', 101, '1735689600', usual, '15'),
        execution('no confirmation, small vid', 1, '1', far, '0'),
        execution('the largest numbers', 4294967295, '18446744073709551615', usual, '18446744073709551615'),
    ];
}

const folder = join(dirname(fileURLToPath(import.meta.url)), 'vectors');
for (const [name, vectors] of Object.entries({
    packets: packets(),
    options: allOptions(),
    executions: executions(),
})) {
    writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(vectors, null, 1)}\n`);
    console.log(`${name}: ${vectors.length}`);
}
