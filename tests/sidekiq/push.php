<?php

// Pushes jobs by Predis as PHP's clients for Sidekiq do, through PHP's json_encode with its defaults: "/" and everything
// beyond ASCII escaped, an empty array as [] even where an object is meant, times from microtime().
// Request, JSON on stdin: redis, namespace, queue, args. Answer: the payload as it was stored.

require_once 'Predis/Autoloader.php';
Predis\Autoloader::register();

$request = json_decode(stream_get_contents(STDIN), true);
$options = $request['namespace'] === '' ? [] : ['prefix' => $request['namespace'] . ':'];
$redis = new Predis\Client($request['redis'], $options);

$job = [
    'class' => 'Restbroker',
    'jid' => bin2hex(random_bytes(12)),
    'queue' => $request['queue'],
    'args' => $request['args'],
    'created_at' => microtime(true),
    'enqueued_at' => microtime(true),
    'retry' => false,
];
$payload = json_encode($job);

$redis->sadd('queues', [$request['queue']]);
$redis->lpush('queue:' . $request['queue'], [$payload]);
echo json_encode($payload);
