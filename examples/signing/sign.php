<?php
function canonical($value): string {
    if (is_object($value) || (is_array($value) && !array_is_list($value))) {
        $members = (array) $value;
        ksort($members, SORT_STRING);
        $parts = [];
        foreach ($members as $key => $item) {
            $parts[] = canonical((string) $key) . ':' . canonical($item);
        }
        return '{' . implode(',', $parts) . '}';
    }
    if (is_array($value)) {
        return '[' . implode(',', array_map('canonical', $value)) . ']';
    }
    return json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_LINE_TERMINATORS);
}

function signed($secret, $name, $jid, $endpoint, $arguments, $replyId, $queue): string {
    $at = time();
    $text = canonical(['v1q', $name, $at, $jid, $endpoint, $arguments, $replyId, $queue]);
    return "v1q:$name:$at:" . hash_hmac('sha256', $text, $secret);
}

$secret = trim(file_get_contents('app_token'));
$jid = bin2hex(random_bytes(12));
$arguments = ['user' => 'bob', 'host' => 'example.org', 'nickname' => 'Bób/Robert'];
$token = signed($secret, 'app', $jid, 'set_nickname', $arguments, 'order-7', 'rest');
$args = ['set_nickname', $arguments, $token, 'order-7'];
echo json_encode(['class' => 'Restbroker', 'jid' => $jid, 'queue' => 'rest', 'retry' => true, 'args' => $args]);
