<?php
// Takes the steps of a test to examples/clients/restbroker_client.php, which is beside it. Steps and results are JSON.
require_once 'Predis/Autoloader.php';
require_once __DIR__ . '/restbroker_client.php';
Predis\Autoloader::register();

$broker = new Restbroker\Client(new Predis\Client(getenv('REDIS_URL')));
$results = $jids = [];
foreach (json_decode(stream_get_contents(STDIN), true) as $step) {
    [$verb, $first] = $step;
    [$command, $arguments, $fields] = array_slice($step, 2) + ['', [], []];
    try {
        $results[] = match ($verb) {
            'wait' => ['done' => $broker->wait(end($jids), $first)],
            'call' => ['done' => $broker->call($command, $arguments, $fields, $first)],
            'later' => ['jid' => $broker->later($first, $command, $arguments, $fields)],
            'push' => ['jid' => $broker->push($command, $arguments, $fields)],
        };
    } catch (Restbroker\Refused $error) {
        $results[] = ['refused' => $error->getMessage(), 'code' => $error->answer['error']['code']];
    } catch (Restbroker\Unknown $error) {
        $jids[] = $error->jid;
        $results[] = ['unknown' => $error->getMessage(), 'jid' => $error->jid];
    }
}
echo json_encode($results);
