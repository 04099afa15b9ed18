<?php
// Takes the steps of a test to examples/clients/restbroker_client.php, which is beside it. Steps and results are JSON.
require_once 'Predis/Autoloader.php';
require_once __DIR__ . '/restbroker_client.php';
Predis\Autoloader::register();

$redis = new Predis\Client(getenv('LATER'));
$broker = new Restbroker\Client($redis);
$odd = [];
foreach ([0, -1, NAN, INF, null, 'soon', []] as $timeout) $odd[] = fn () => $broker->call('c', [], [], $timeout);
foreach ([NAN, [INF], "\xFF", "\xED\xA0\x80", STDIN] as $value) $odd[] = fn () => $broker->push('c', ['v' => $value]);
foreach ([NAN, INF, 'soon'] as $at) $odd[] = fn () => $broker->push('c', [], [], $at);
$odd[] = fn () => $broker->push('c', [], ['expiry' => NAN]);
$odd[] = fn () => $broker->later(INF, 'c', []);
function said(callable $what): array
{
    try {
        return ['said' => $what()];
    } catch (Restbroker\NotDone) {
        return [];
    } catch (Throwable $error) {
        return ['error' => $error->getMessage()];
    }
}
function token(string $file, object $redis): string
{
    putenv("RESTBROKER_TOKENFILE=$file");
    return (new ReflectionProperty('Restbroker\Client', 'token'))->getValue(new Restbroker\Client($redis));
}
$results = $jids = [];
foreach (json_decode(stream_get_contents(STDIN), true) as $step) {
    [$verb, $first] = $step;
    [$command, $arguments, $fields] = array_slice($step, 2) + ['', [], []];
    try {
        $results[] = match ($verb) {
            'wait' => ['done' => $broker->wait($command ?: end($jids), $first)],
            'token' => said(fn () => token($first, $redis)),
            'odd' => ['taken' => array_keys(array_filter($odd, fn ($what) => !isset(said($what)['error'])))],
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
